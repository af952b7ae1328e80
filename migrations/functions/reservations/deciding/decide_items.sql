-- decide_items: decide_spend() for the items of a batch. The fixed part of an amount and the price of a unit come from
-- p_items.
create or replace function copilot_internal.decide_items(
  p_items copilot_internal.reserve_item[], p_amounts numeric[], p_free boolean[], p_item_scopes integer[],
  p_first integer[], p_last integer[], p_limits numeric[], p_spent numeric[], p_reserved numeric[], p_modes integer[],
  p_in_order boolean, out o_amounts numeric[], out o_granted_units numeric[], out o_notes text[]
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select d.*
  from (select array_agg(i.fixed_usd order by i.ordinality) as fixed, array_agg(i.per_unit_usd order by i.ordinality) as per_unit
        from unnest(p_items) with ordinality i) i
  cross join lateral copilot_internal.decide_spend(p_amounts, i.fixed, i.per_unit, p_free, p_item_scopes, p_first, p_last,
    p_limits, p_spent, p_reserved, p_modes, p_in_order) d
$$;
comment on function copilot_internal.decide_items(copilot_internal.reserve_item[], numeric[], boolean[], integer[], integer[], integer[], numeric[], numeric[], numeric[], integer[], boolean) is 'decide_spend() for the items of a batch.';
