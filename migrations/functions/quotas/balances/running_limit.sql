-- running_limit: the limit in force at a moment: the raised limit while a raise runs, else the plain one.
-- It has no search_path of its own, so that Postgres inlines it into the caller's statement and it costs nothing. For
-- the same reason it names everything by its schema, and operators by their functions.
create or replace function copilot_internal.running_limit(
  p_limit_usd numeric, p_raise_limit_usd numeric, p_raise_until timestamptz, p_now timestamptz
)
returns numeric
language sql immutable parallel safe
as $$
  select case when pg_catalog.timestamptz_gt(p_raise_until, p_now) then p_raise_limit_usd else p_limit_usd end
$$;
comment on function copilot_internal.running_limit(numeric, numeric, timestamptz, timestamptz) is 'The limit in force at a moment: the raised one while a raise runs.';
