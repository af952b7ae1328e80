-- find_line_card: the rate card that prices a line of cost at its moment. It is a card of the model that priced the
-- line before (p_priced_model, or for lines older than migration 0020 the model of p_price_id). A line that no card has
-- priced yet is priced by what its name meant then.
create or replace function copilot_internal.find_line_card(
  p_provider text, p_name text, p_priced_model text, p_price_id bigint, p_at timestamptz
)
returns copilot_internal.model_pricing
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select copilot_internal.find_model_card(p_provider, coalesce(
    p_priced_model,
    (select m.model from copilot_internal.model_pricing m where m.price_id = p_price_id),
    copilot_internal.resolve_model(p_provider, p_name, p_at)), p_at)
$$;
comment on function copilot_internal.find_line_card(text, text, text, bigint, timestamptz) is 'The rate card that prices a line of cost at its moment, by the model that priced it.';
