-- cleanup_old_llm_cost_records: remove the oldest month of llm records, by drop_oldest_archive(). Answers how many
-- records, 0 if there is none. Call it again for the next month.
create or replace function copilot_internal.cleanup_old_llm_cost_records(p_retention_days integer default 90)
returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select copilot_internal.drop_oldest_archive('llm', p_retention_days)
$$;
comment on function copilot_internal.cleanup_old_llm_cost_records(integer) is 'Removes the oldest archived month of llm records from the database; answers how many.';
