-- prepare_restore: make an empty table for the records of an archived month. It stands beside the partitions and is not
-- yet one of them. What an interrupted restore left behind is dropped.
create or replace function copilot_internal.prepare_restore(p_partition text)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_archive copilot_internal.cost_archives;
begin
  select * into v_archive from copilot_internal.cost_archives a where a.partition = p_partition for update;
  if v_archive.state is distinct from 'archived' then
    raise exception '% is not archived', p_partition using errcode = 'object_not_in_prerequisite_state';
  end if;
  execute format('drop table if exists copilot_partitions.%I', p_partition);
  execute format('create table copilot_partitions.%I (like copilot_internal.%I including all)', p_partition, v_archive.resource_type || '_cost_records');
  -- With this constraint, attaching need not read the rows.
  execute format('alter table copilot_partitions.%I add constraint %I check (recorded_at >= %L and recorded_at < %L)',
    p_partition, 'restored_bounds', v_archive.starts_at, v_archive.ends_at);
  perform copilot_internal.protect_table(format('copilot_partitions.%I', p_partition)::regclass);
end $$;
comment on function copilot_internal.prepare_restore(text) is 'Makes the empty table into which an archived month is restored.';
