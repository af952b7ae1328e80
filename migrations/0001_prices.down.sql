-- 0001 prices, undone: the functions that work on these tables first, because some take a row of theirs.
drop function if exists copilot_internal.calculate_e2b_cost(text, text, numeric, numeric, numeric, numeric, timestamptz);
drop function if exists copilot_internal.calculate_llm_cost(text, text, integer, integer);
drop function if exists copilot_internal.calculate_llm_cost(
  text, text, integer, integer, integer, integer, integer, integer, integer, integer, integer, integer, integer,
  integer, integer, text, text, timestamptz);
drop function if exists copilot_internal.get_current_model_pricing(text, text);
drop function if exists copilot_internal.publish_e2b_prices(jsonb);
drop function if exists copilot_internal.publish_model_prices(jsonb);
drop function if exists copilot_internal.rate_map(jsonb);
drop function if exists copilot_internal.price_e2b_usage(text, text, numeric, integer, timestamptz, numeric);
drop function if exists copilot_internal.price_llm_usage(bigint, jsonb, text, text);
drop function if exists copilot_internal.price_llm_usage(copilot_internal.model_pricing, jsonb, text, text);
drop function if exists copilot_internal.find_model_price(text, text, timestamptz);

drop table copilot_internal.price_seed;
drop table copilot_internal.e2b_pricing;
drop table copilot_internal.model_aliases;
-- Takes its sequence along.
drop table copilot_internal.model_pricing;

drop function copilot_internal.guard_price_version();
drop function copilot_internal.is_rate_map(jsonb, text);
drop type copilot_internal.name_range;
drop type copilot_internal.resource_type;
drop function copilot_internal.clock_now();
