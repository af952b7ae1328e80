-- check_spend: what reserve_spend() would answer to each item now if it were the only one (rule 2). Nothing is written:
-- no hold, scope, quota or period.
--
-- p_types, p_tenants, p_users, p_amounts, p_item_scopes, p_enforcement: as in reserve_spend(). p_fixed, p_per_unit,
-- p_free: as in decide_spend().
-- Answers { now, first, last, balances, outcomes }. first, last and balances are those of scope_balances(), by which
-- the items were decided. outcomes[i] has largest_allowed_usd, and granted, units and warned, or refused, as in
-- reserve_spend(). largest_allowed_usd is the least room over the enforced balances, not below 0; null if there are none.
-- Bound: 500 items a call. Locks: none.
create or replace function copilot_internal.check_spend(
  p_types copilot_internal.resource_type[], p_tenants text[], p_users text[], p_amounts numeric[],
  p_item_scopes integer[], p_fixed numeric[], p_per_unit numeric[], p_free boolean[],
  p_enforcement text default 'enforce'
)
returns json
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := copilot_internal.clock_now();
  v_service integer := array_position(array['off', 'warn', 'enforce'], p_enforcement) - 1;
  v_balances record;
  v_decisions record;
begin
  if v_service is null then
    raise exception 'enforcement % is not one of enforce, warn, off', p_enforcement using errcode = 'invalid_parameter_value';
  end if;
  if cardinality(p_amounts) not between 1 and 500 or cardinality(p_fixed) <> cardinality(p_amounts)
     or cardinality(p_per_unit) <> cardinality(p_amounts) or cardinality(p_item_scopes) <> 3 * cardinality(p_amounts) then
    raise exception 'a batch has 1 to 500 items, each with an amount and three scopes' using errcode = 'invalid_parameter_value';
  end if;
  select * into v_balances from copilot_internal.scope_balances(p_types, p_tenants, p_users, v_now, v_service);
  select * into v_decisions from copilot_internal.decide_spend(
    p_amounts, p_fixed, p_per_unit, p_free, p_item_scopes, v_balances.first, v_balances.last,
    v_balances.limits, v_balances.spent, v_balances.reserved, v_balances.modes, p_in_order => false);
  return json_build_object(
    'now', v_now, 'first', v_balances.first, 'last', v_balances.last, 'balances', v_balances.balances,
    'outcomes', (
      select json_agg(case
          when d.amount is null then json_build_object('largest_allowed_usd', room.usd::text, 'refused', d.note::json)
          else json_build_object('largest_allowed_usd', room.usd::text, 'granted', d.amount::text, 'units', d.units, 'warned', d.note::json)
        end order by d.i)
      from unnest(v_decisions.o_amounts, v_decisions.o_granted_units, v_decisions.o_notes) with ordinality d(amount, units, note, i)
      left join lateral (
        select greatest(min(v_balances.limits[b] - v_balances.spent[b] - v_balances.reserved[b]), 0) as usd
        from unnest(p_item_scopes[3 * d.i - 2 : 3 * d.i]) s(scope)
        cross join lateral generate_series(v_balances.first[s.scope], v_balances.last[s.scope]) b
        where v_balances.modes[b] = 2
        having count(*) > 0
      ) room on true
    ));
end $$;
comment on function copilot_internal.check_spend(copilot_internal.resource_type[], text[], text[], numeric[], integer[], numeric[], numeric[], boolean[], text) is 'What reservations would be answered now; nothing is written.';
