-- pin_plans: set the planner settings of each function whose plans must not depend on statistics. Answers the functions
-- that it changed.
--
-- Such a function finds rows by index in nested loops, even while a table is empty or not analysed. Correctness depends
-- on it: a nested loop over sorted ids locks rows in the order of the ids, a hash join locks them in no order. With a
-- hash join, eight clients deadlocked nine times in six seconds.
--
-- The settings are here and in no other function file. "create or replace" resets them, so the migrations' runner calls
-- this function after every run. Each start of the service therefore repairs a function that was replaced by hand. A
-- function that has its settings is left alone.
create or replace function copilot_internal.pin_plans()
returns setof text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_no_scans constant text[] := array['enable_seqscan=off'];
  v_nested_loops constant text[] := v_no_scans || array['enable_hashjoin=off', 'enable_mergejoin=off'];
  v_by_index constant text[] := v_nested_loops || array['enable_bitmapscan=off'];
  -- No materialized inner side either: it would read a whole table once.
  v_decision constant text[] := v_by_index || array['enable_material=off', 'plan_cache_mode=force_generic_plan'];
  v_pin record;
begin
  for v_pin in
    select f.name, p.oid::regprocedure as signature, s.settings, coalesce(p.proconfig, '{}') as has
    from (values
      (v_decision, array[
        'reserve_spend', 'commit_spend', 'release_spend', 'extend_reservation', 'check_spend', 'change_balances',
        'record_spend', 'correct_record', 'set_quotas', 'retire_scopes']),
      (v_by_index || array['enable_material=off'], array['expire_reservations']),
      -- The ids are read in the order of their index, so that the scan ends at the limit of a page.
      (v_by_index || array['enable_sort=off'], array['rerate_page']),
      -- Their tables are filled and emptied between two runs of analyze.
      (v_nested_loops, array['claim_deliveries', 'settle_deliveries', 'emit_name_events', 'emit_cost_anomalies']),
      -- The tail is read from a block on.
      (v_no_scans, array['find_model_card', 'price_e2b_usage', 'roll_up_tail'])
    ) s(settings, functions)
    cross join lateral unnest(s.functions) f(name)
    left join pg_proc p on p.proname = f.name and p.pronamespace = 'copilot_internal'::regnamespace
    order by f.name
  loop
    if v_pin.signature is null then
      raise exception 'pin_plans() names %(), which is not there', v_pin.name using errcode = 'undefined_function';
    end if;
    continue when v_pin.has @> v_pin.settings;
    execute format('alter function %s set %s', v_pin.signature, array_to_string(v_pin.settings, ' set '));
    return next v_pin.name;
  end loop;
end $$;
comment on function copilot_internal.pin_plans() is 'Sets the planner settings of functions whose plans must not depend on statistics; answers those that it changed.';
