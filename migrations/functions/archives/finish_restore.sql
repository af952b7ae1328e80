-- finish_restore: attach a restored month as a partition again, read-only as before. Answers how many records it has.
-- Refused if the table does not have what the archive says. Afterwards carry_archive() takes the month's costs off
-- archived_usd of each balance, in steps.
-- Locks: (0) exclusively -> the archive -> the tables of records, as briefly as drop_cost_partition().
create or replace function copilot_internal.finish_restore(p_partition text, p_keep_until timestamptz)
returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
set timezone = 'UTC'
as $$
declare
  v_archive copilot_internal.cost_archives;
  v_records bigint;
  v_cost_usd numeric;
begin
  execute format('select count(*), coalesce(sum(total_cost_usd), 0) from copilot_partitions.%I', p_partition) into v_records, v_cost_usd;
  perform pg_advisory_xact_lock(copilot_internal.quota_lock());
  select * into v_archive from copilot_internal.cost_archives a where a.partition = p_partition for update;
  if v_archive.state is distinct from 'archived' or (v_archive.records, v_archive.cost_usd) is distinct from (v_records, v_cost_usd) then
    raise exception '% is not what its archive says: % records, % USD', p_partition, v_records, v_cost_usd
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  perform copilot_internal.guard_partition(p_partition);
  -- Readers wait too: a query that was planned without the month must not see its archive as restored.
  execute format('lock table copilot_internal.%I in access exclusive mode', v_archive.resource_type || '_cost_records');
  execute format('alter table copilot_internal.%I attach partition copilot_partitions.%I for values from (%L) to (%L)',
    v_archive.resource_type || '_cost_records', p_partition, v_archive.starts_at, v_archive.ends_at);
  execute format('alter table copilot_partitions.%I drop constraint restored_bounds', p_partition);
  update copilot_internal.cost_archives a
    set state = 'restored', keep_until = p_keep_until
    where a.partition = p_partition;
  return v_records;
end $$;
comment on function copilot_internal.finish_restore(text, timestamptz) is 'Attaches a restored month of records as a partition again.';
