create or replace function copilot_internal.clock_now()
  returns timestamptz
  language sql
  volatile
  parallel safe
  set search_path = pg_catalog, pg_temp
as $$ select pg_catalog.clock_timestamp() $$;

comment on function copilot_internal.clock_now() is
  'The time by which Postgres decides: the only clock of the product. Volatile, because it moves inside a transaction.';
