-- ensure_cost_partitions: make the partitions of both record tables for the month of p_now if they are missing. Costs
-- one catalog look-up where they exist. So booking can call it: money that was spent must always find a partition,
-- whatever a job did.
-- Locks: where one is missing, an advisory lock of its own and the tables of records, right after (0) and before any
-- row.
create or replace function copilot_internal.ensure_cost_partitions(p_now timestamptz)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
-- Bounds of partitions are written as text, in UTC.
set timezone = 'UTC'
as $$
declare
  v_from timestamptz := date_trunc('month', p_now, 'UTC');
  v_month text := to_char(v_from, 'YYYY_MM');
  v_table text;
  v_name text;
begin
  foreach v_table in array array['llm_cost_records', 'e2b_cost_records'] loop
    v_name := v_table || '_' || v_month;
    continue when to_regclass('copilot_partitions.' || v_name) is not null;
    -- Made alone and then attached, because attaching does not wait for readers and writers of the other months.
    perform pg_advisory_xact_lock(hashtext('copilot_partitions'));
    -- Read from the catalog itself: waiting for an advisory lock does not refresh the cache of to_regclass().
    continue when exists (
      select from pg_class c where c.relname = v_name and c.relnamespace = 'copilot_partitions'::regnamespace);
    execute format('create table copilot_partitions.%I (like copilot_internal.%I including all)', v_name, v_table);
    execute format('alter table copilot_internal.%I attach partition copilot_partitions.%I for values from (%L) to (%L)',
      v_table, v_name, v_from, v_from + interval '1 month');
    perform copilot_internal.protect_table(format('copilot_partitions.%I', v_name)::regclass);
  end loop;
end $$;
comment on function copilot_internal.ensure_cost_partitions(timestamptz) is 'Makes the partitions of a month if they are missing.';
