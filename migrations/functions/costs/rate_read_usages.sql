-- rate_read_usages: price lines of cost whose usage has become readable, by the price versions known now for the moment
-- of each line, as correct_record() would book it.
-- p_read: [{ "cost_record_id", "usage" in normal form }, ...]. Answers, in order, [{ "new_cost_usd" as text,
-- "new_price_id" }, ...]; both are null if the model has no price or the line has left the database. Bound: a page of
-- rerate_page().
create or replace function copilot_internal.rate_read_usages(p_read json)
returns json
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(json_agg(json_build_object(
      'new_cost_usd', (cost.cost).total_cost_usd::text, 'new_price_id', (card.price).price_id) order by u.nth), '[]')
  from rows from (json_to_recordset(p_read) as (cost_record_id uuid, usage jsonb)) with ordinality u(cost_record_id, usage, nth)
  left join lateral (
    select l.* from copilot_internal.llm_cost_records l where l.cost_record_id = u.cost_record_id offset 0) l on true
  cross join lateral (
    select copilot_internal.find_line_card(l.provider, l.model, l.priced_model, l.price_id, l.priced_at) as price offset 0) card
  cross join lateral (
    select copilot_internal.price_llm_usage(card.price, u.usage, l.service_tier, l.region) as cost offset 0) cost
$$;
comment on function copilot_internal.rate_read_usages(json) is 'Prices cost records whose usage has become readable.';
