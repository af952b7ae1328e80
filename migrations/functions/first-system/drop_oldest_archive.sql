-- drop_oldest_archive: drop the oldest month of records of a type that is older than the retention and whose file in
-- the archive is verified. Answers how many records, 0 if there is none. The service writes the files each night, or
-- npm run costs -- archive: nothing leaves the database without a file. The service's next run adjusts the balances, by
-- carry_archive().
create or replace function copilot_internal.drop_oldest_archive(
  p_resource_type copilot_internal.resource_type, p_retention_days integer
)
returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_partition text;
begin
  select a.partition into v_partition from copilot_internal.cost_archives a
    where a.resource_type = p_resource_type and a.state = 'verified'
      and a.ends_at <= copilot_internal.clock_now() - make_interval(days => p_retention_days)
    order by a.starts_at
    limit 1;
  if not found then
    return 0;
  end if;
  return copilot_internal.drop_cost_partition(v_partition);
end $$;
comment on function copilot_internal.drop_oldest_archive(copilot_internal.resource_type, integer) is 'Drops the oldest archived month of a type; answers how many records.';
