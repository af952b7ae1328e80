-- cleanup_old_cost_records: moves the oldest month of e2b records out, as drop_oldest_archive() says; answers how many records, 0 where
-- there is none. Call it again for the next.
create or replace function copilot_internal.cleanup_old_cost_records(p_retention_days integer default 90)
returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select copilot_internal.drop_oldest_archive('e2b', p_retention_days)
$$;
comment on function copilot_internal.cleanup_old_cost_records(integer) is 'Moves the oldest archived month of e2b records out of the database; answers how many.';
