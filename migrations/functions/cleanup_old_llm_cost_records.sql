-- cleanup_old_llm_cost_records: moves the oldest month of llm records out, that is older than the retention and whose file in the archive is
-- verified; answers how many records, 0 where there is none. Call it again for the next. The files are written by the service, each
-- night, or by npm run costs -- archive: nothing leaves the database without one.
create or replace function copilot_internal.cleanup_old_llm_cost_records(p_retention_days integer default 90)
returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_partition text;
begin
  select a.partition into v_partition from copilot_internal.cost_archives a
    where a.resource_type = 'llm' and a.state = 'verified' and a.ends_at <= copilot_internal.clock_now() - make_interval(days => p_retention_days)
    order by a.starts_at
    limit 1;
  if not found then
    return 0;
  end if;
  return copilot_internal.drop_cost_partition(v_partition);
end $$;
comment on function copilot_internal.cleanup_old_llm_cost_records(integer) is 'Moves the oldest archived month of llm records out of the database; answers how many.';
