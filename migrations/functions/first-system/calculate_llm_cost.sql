-- calculate_llm_cost: the cost of tokens at today's price, with the name and the shape that callers of the first system
-- know.
-- An unknown model gets pricing_found false and null costs, never 0, which would read as free.
create or replace function copilot_internal.calculate_llm_cost(
  p_provider text, p_model text, p_input_tokens integer, p_output_tokens integer
)
returns table (input_cost_usd numeric, output_cost_usd numeric, total_cost_usd numeric, pricing_found boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_price copilot_internal.model_pricing;
  v_cost record;
begin
  v_price := copilot_internal.find_model_price(p_provider, p_model, copilot_internal.clock_now());
  v_cost := copilot_internal.price_llm_usage(
    v_price,
    jsonb_build_object('input_tokens', coalesce(p_input_tokens, 0), 'output_tokens', coalesce(p_output_tokens, 0)),
    null, null);
  return query select v_cost.input_cost_usd, v_cost.output_cost_usd, v_cost.total_cost_usd, v_price.price_id is not null;
end $$;
comment on function copilot_internal.calculate_llm_cost(text, text, integer, integer) is 'The cost of tokens at the price in force now; pricing_found false and null costs for a model without a price.';

-- The same with every bucket, tier, region and date. The fifth argument has no default, so that a call with four
-- arguments always means the form above.
create or replace function copilot_internal.calculate_llm_cost(
  p_provider text, p_model text, p_input_tokens integer, p_output_tokens integer, p_cache_read_tokens integer,
  p_cache_write_tokens integer default 0, p_cache_write_1h_tokens integer default 0,
  p_cache_write_12h_tokens integer default 0, p_reasoning_tokens integer default 0,
  p_audio_input_tokens integer default 0, p_audio_output_tokens integer default 0,
  p_image_input_tokens integer default 0, p_image_output_tokens integer default 0, p_web_searches integer default 0,
  p_requests integer default 1, p_service_tier text default null, p_region text default null,
  p_pricing_date timestamptz default copilot_internal.clock_now()
)
returns table (input_cost_usd numeric, output_cost_usd numeric, total_cost_usd numeric, pricing_found boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_price copilot_internal.model_pricing;
  v_cost record;
begin
  v_price := copilot_internal.find_model_price(p_provider, p_model, p_pricing_date);
  v_cost := copilot_internal.price_llm_usage(
    v_price,
    jsonb_strip_nulls(jsonb_build_object(
      'input_tokens', p_input_tokens, 'output_tokens', p_output_tokens,
      'cache_read_tokens', p_cache_read_tokens, 'cache_write_tokens', p_cache_write_tokens,
      'cache_write_1h_tokens', p_cache_write_1h_tokens, 'cache_write_12h_tokens', p_cache_write_12h_tokens,
      'reasoning_tokens', p_reasoning_tokens,
      'audio_input_tokens', p_audio_input_tokens, 'audio_output_tokens', p_audio_output_tokens,
      'image_input_tokens', p_image_input_tokens, 'image_output_tokens', p_image_output_tokens,
      'web_searches', p_web_searches, 'requests', p_requests)),
    p_service_tier, p_region);
  return query select v_cost.input_cost_usd, v_cost.output_cost_usd, v_cost.total_cost_usd, v_price.price_id is not null;
end $$;
comment on function copilot_internal.calculate_llm_cost(text, text, integer, integer, integer, integer, integer, integer, integer, integer, integer, integer, integer, integer, integer, text, text, timestamptz) is 'The cost of all buckets of tokens, with service tier and region, at the price in force at a date; pricing_found false and null costs for a model without a price.';
