-- drop_cost_partition: remove a month of records from the database after its file was verified. Answers how many
-- records it had. Afterwards carry_archive() adds the month's costs to archived_usd of each balance, in steps. Refused
-- while a reservation names a record of the month, or while a key of a direct record is as old: its repeat could not be
-- answered. Those are deleted first.
-- Locks: (0) exclusively -> the archive -> the tables of records. Decisions wait meanwhile, but not for the balances,
-- of which there may be many. If somebody reads the tables for longer than lock_timeout, nothing is changed and the
-- caller tries again.
create or replace function copilot_internal.drop_cost_partition(p_partition text)
returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
declare
  v_archive copilot_internal.cost_archives;
  v_named boolean;
begin
  -- Checked before the lock: no new reservation names a record of a past month, and no new key has its date.
  execute format('select exists (select from copilot_internal.reservations r join copilot_partitions.%I c using (cost_record_id))', p_partition)
    into v_named;
  if v_named then
    raise exception 'reservations name records of %: they have to be deleted first', p_partition using errcode = 'object_not_in_prerequisite_state';
  end if;
  if exists (
    select from copilot_internal.record_keys k join copilot_internal.cost_archives a on k.recorded_at >= a.starts_at and k.recorded_at < a.ends_at
    where a.partition = p_partition)
  then
    raise exception 'keys of records are as old as %: they have to be deleted first', p_partition using errcode = 'object_not_in_prerequisite_state';
  end if;
  perform pg_advisory_xact_lock(copilot_internal.quota_lock());
  select * into v_archive from copilot_internal.cost_archives a where a.partition = p_partition for update;
  if v_archive.state is distinct from 'verified' then
    raise exception 'the file of % is not verified', p_partition using errcode = 'object_not_in_prerequisite_state';
  end if;
  execute format('alter table copilot_internal.%I detach partition copilot_partitions.%I', v_archive.resource_type || '_cost_records', p_partition);
  execute format('drop table copilot_partitions.%I', p_partition);
  update copilot_internal.cost_archives a
    set state = 'archived', archived_at = copilot_internal.clock_now(), keep_until = null
    where a.partition = p_partition;
  return v_archive.records;
end $$;
comment on function copilot_internal.drop_cost_partition(text) is 'Removes a verified month of records from the database.';
