-- get_current_model_pricing: the plain rates of a model now, with the name and the shape that callers of the first
-- system know. No row for a model without a price. Long context, cache and modifiers are not in this shape: see
-- find_model_price().
create or replace function copilot_internal.get_current_model_pricing(p_provider text, p_model text)
returns table (
  input_price_per_million numeric, output_price_per_million numeric, effective_date timestamptz, notes text
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_price copilot_internal.model_pricing;
begin
  v_price := copilot_internal.find_model_price(p_provider, p_model, copilot_internal.clock_now());
  if v_price.price_id is null then
    return;
  end if;
  return query select
    (v_price.usd_per_mtok ->> 'input')::numeric,
    coalesce(v_price.usd_per_mtok ->> 'output', v_price.usd_per_mtok ->> 'input')::numeric,
    v_price.effective_date,
    v_price.source;
end $$;
comment on function copilot_internal.get_current_model_pricing(text, text) is 'USD per million input and output tokens of a model in force now, since when, and from which source; no row if none is known.';
