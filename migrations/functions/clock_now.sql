-- clock_now: the time by which Postgres decides, and the only clock of the product. Volatile, because it moves within a
-- transaction. Tests replace it by a clock of their own.
create or replace function copilot_internal.clock_now()
returns timestamptz
language sql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$ select pg_catalog.clock_timestamp() $$;
comment on function copilot_internal.clock_now() is 'The time by which Postgres decides: the only clock of the product. Volatile, because it moves inside a transaction.';
