-- roll_up_costs: rolls up lines that wait in the tail, as roll_up_tail() says; answers how many.
-- Bound: p_lines_max lines a call.
create or replace function copilot_internal.roll_up_costs(p_lines_max integer default 50000)
returns integer
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select t.lines from copilot_internal.roll_up_tail(p_lines_max, 0) t
$$;
comment on function copilot_internal.roll_up_costs(integer) is 'Adds lines of the tail to the rollups; answers how many.';
