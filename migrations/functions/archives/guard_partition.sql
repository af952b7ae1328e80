-- guard_partition: make a partition of records read-only. Waits for transactions that are writing to it.
create or replace function copilot_internal.guard_partition(p_partition text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('create trigger closed_rows before insert or update or delete on copilot_partitions.%I
    for each row execute function copilot_internal.guard_closed_partition()', p_partition);
  execute format('create trigger closed before truncate on copilot_partitions.%I
    for each statement execute function copilot_internal.guard_closed_partition()', p_partition);
end $$;
comment on function copilot_internal.guard_partition(text) is 'Makes a partition of records read-only.';
