-- check_spend: what reserve_spend() would say to one item at this moment, by rule 2. Nothing is held, and no balance locked.
--
-- p_user_id: null for none. p_fixed, p_per_unit: as in decide_spend(). p_enforcement: as in reserve_spend().
-- Answers { now, ids, balances, spent, reserved, largest_allowed_usd, outcome }: balances as change_balances() answers them; spent[i]
-- and reserved[i] are those of ids[i] that the decision saw; largest_allowed_usd is the least room over the enforced balances, not
-- below 0, and null where there are none; outcome is { "granted", "units", "warned" } or { "refused" } as of reserve_spend().
-- Locks: (0) shared advisory, then missing quotas, periods and scopes.
create or replace function copilot_internal.check_spend(
  p_type copilot_internal.resource_type, p_tenant_id text, p_user_id text, p_amount numeric, p_fixed numeric, p_per_unit numeric,
  p_enforcement text default 'enforce'
)
returns json
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
-- As in reserve_spend(): look-ups by index, whatever the statistics say.
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
as $$
declare
  v_now timestamptz;
  v_service integer := array_position(array['off', 'warn', 'enforce'], p_enforcement) - 1;
  v_periods record;
  v_balances record;
  v_decision record;
  v_nothing numeric[];
  v_change record;
begin
  if v_service is null then
    raise exception 'enforcement % is not one of enforce, warn, off', p_enforcement using errcode = 'invalid_parameter_value';
  end if;
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  v_now := copilot_internal.clock_now();
  select * into v_periods from copilot_internal.scope_periods(
    array_fill(p_type, array[case when p_user_id is null then 2 else 3 end]),
    array_remove(array['', p_tenant_id, case when p_user_id is not null then p_tenant_id end], null),
    array_remove(array['', '', p_user_id], null), v_now);
  select * into v_balances from copilot_internal.read_balances(v_periods.ids, v_now, v_service);
  select d.o_amounts[1]::text as amount, d.o_granted_units[1] as units, d.o_notes[1]::json as note into v_decision
    from copilot_internal.decide_spend(
      array[p_amount], array[p_fixed], array[p_per_unit], array[1, 0, 0], array[1], array[cardinality(v_periods.ids)],
      v_balances.limits, v_balances.spent, v_balances.reserved, v_balances.modes, p_in_order => true) d;
  -- With nothing to add, the balances are read only. Their limits cannot change under lock (0); what is spent and held can.
  v_nothing := array_fill(0::numeric, array[cardinality(v_periods.ids)]);
  select * into v_change from copilot_internal.change_balances(v_periods.ids, v_nothing, v_nothing, 'warned', v_now);
  return json_build_object(
    'now', v_now, 'ids', v_periods.ids, 'balances', v_change.balances,
    'spent', v_balances.spent::text[], 'reserved', v_balances.reserved::text[],
    'largest_allowed_usd', (
      select greatest(min(b.limit_usd - b.spent - b.reserved), 0)::text
      from unnest(v_balances.limits, v_balances.spent, v_balances.reserved, v_balances.modes) b(limit_usd, spent, reserved, mode)
      where b.mode = 2
      having count(*) > 0),
    'outcome', case when v_decision.amount is null then json_build_object('refused', v_decision.note)
      else json_build_object('granted', v_decision.amount, 'units', v_decision.units, 'warned', v_decision.note) end);
end $$;
comment on function copilot_internal.check_spend(copilot_internal.resource_type, text, text, numeric, numeric, numeric, text) is 'What a reservation would be answered now; nothing is held.';
