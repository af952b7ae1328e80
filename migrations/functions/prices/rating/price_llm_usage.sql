-- price_llm_usage: what a usage costs by one rate card. Gives the same decimals as src/domain/price.ts; a test compares
-- them.
--
-- Cost = sum of usage x rate, exact, rounded once: half up at the 12th decimal of the total. The output's share is
-- rounded in the same way, and the input's share is the rest (with the fees), so that the two add up to the total.
-- Usage is in normal form: input_tokens is the whole prompt, of which the cached, audio, image and video tokens are
-- parts; output_tokens includes reasoning, audio, image and video. A part above its whole is an error (22023).
-- A bucket without a rate takes another rate, so that no bucket is free by omission: cache reads and writes that of
-- input (1 h and 12 h writes first that of writes, cached audio and images first that of cache reads), audio, images
-- and video in that of input, reasoning, audio, images and video out that of output, output that of input. A usage that
-- does not count its requests is one request.
-- Long-context rates apply per request: by the input of each of its steps if the usage has steps, else by the mean of
-- its requests.
-- Runs once for every commit, so it takes only the branches whose tokens exist.
create or replace function copilot_internal.price_llm_usage(
  p_price copilot_internal.model_pricing, p_usage jsonb, p_service_tier text default null, p_region text default null,
  out input_cost_usd numeric, out output_cost_usd numeric, out total_cost_usd numeric
)
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  -- The whole usage, while p_usage is one of its steps. Not the other way round, because then a commit without steps
  -- would copy its usage.
  v_whole jsonb;
  v_step integer;
  v_rates jsonb;
  v_input numeric;
  v_output numeric;
  v_reads numeric;
  v_writes numeric;
  v_part numeric;
  v_rate_input numeric;
  v_rate_whole numeric;
  v_input_usd numeric := 0;   -- times a million, before modifiers
  v_output_usd numeric := 0;  -- times a million, before modifiers
  v_fees_usd numeric := 0;
  v_factor numeric := 0.000001;
  v_name text;
begin
  if p_price.price_id is null then
    return;
  end if;

  -- Runs once for the whole usage, or once per step if steps may have different rates.
  loop
    v_rates := p_price.usd_per_mtok;
    v_input := coalesce((p_usage -> 'input_tokens')::numeric, 0);
    v_output := coalesce((p_usage -> 'output_tokens')::numeric, 0);
    v_reads := coalesce((p_usage -> 'cache_read_tokens')::numeric, 0);
    v_writes := coalesce((p_usage -> 'cache_write_tokens')::numeric, 0);
    if p_price.long_context is not null
      and v_input > (p_price.long_context -> 'input_tokens_over')::numeric then
      if v_whole is null and p_usage -> 'steps' -> 0 is not null then
        v_whole := p_usage;
        v_step := 0;
        p_usage := v_whole -> 'steps' -> 0;
        continue;
      end if;
      -- If the split over requests is not known, each request counts as the mean.
      if not p_usage ? 'requests'
        or v_input > (p_price.long_context -> 'input_tokens_over')::numeric * (p_usage -> 'requests')::numeric then
        v_rates := v_rates || (p_price.long_context -> 'usd_per_mtok');
      end if;
    end if;
    v_rate_input := (v_rates ->> 'input')::numeric;

    -- Input: each part is subtracted from its whole, and the rest of the whole has the whole's rate.
    if p_usage ? 'cache_read_audio_tokens' or p_usage ? 'cache_read_image_tokens' or v_reads <> 0 then
      v_rate_whole := coalesce((v_rates ->> 'cache_read')::numeric, v_rate_input);
      v_input := v_input - v_reads;
      if p_usage ? 'cache_read_audio_tokens' then
        v_part := (p_usage -> 'cache_read_audio_tokens')::numeric;
        v_reads := v_reads - v_part;
        v_input_usd := v_input_usd + v_part * coalesce((v_rates ->> 'cache_read_audio')::numeric, (v_rates ->> 'cache_read')::numeric,
          (v_rates ->> 'audio_input')::numeric, v_rate_input);
      end if;
      if p_usage ? 'cache_read_image_tokens' then
        v_part := (p_usage -> 'cache_read_image_tokens')::numeric;
        v_reads := v_reads - v_part;
        v_input_usd := v_input_usd + v_part * coalesce((v_rates ->> 'cache_read_image')::numeric, (v_rates ->> 'cache_read')::numeric,
          (v_rates ->> 'image_input')::numeric, v_rate_input);
      end if;
      v_input_usd := v_input_usd + v_reads * v_rate_whole;
    end if;
    if p_usage ? 'cache_write_1h_tokens' or p_usage ? 'cache_write_12h_tokens' or v_writes <> 0 then
      v_rate_whole := coalesce((v_rates ->> 'cache_write')::numeric, v_rate_input);
      v_input := v_input - v_writes;
      if p_usage ? 'cache_write_1h_tokens' then
        v_part := (p_usage -> 'cache_write_1h_tokens')::numeric;
        v_writes := v_writes - v_part;
        v_input_usd := v_input_usd + v_part * coalesce((v_rates ->> 'cache_write_1h')::numeric, v_rate_whole);
      end if;
      if p_usage ? 'cache_write_12h_tokens' then
        v_part := (p_usage -> 'cache_write_12h_tokens')::numeric;
        v_writes := v_writes - v_part;
        v_input_usd := v_input_usd + v_part * coalesce((v_rates ->> 'cache_write_12h')::numeric, v_rate_whole);
      end if;
      v_input_usd := v_input_usd + v_writes * v_rate_whole;
    end if;
    if p_usage ?| array['audio_input_tokens', 'image_input_tokens', 'video_input_tokens'] then
      if p_usage ? 'audio_input_tokens' then
        v_part := (p_usage -> 'audio_input_tokens')::numeric;
        v_input := v_input - v_part;
        v_input_usd := v_input_usd + v_part * coalesce((v_rates ->> 'audio_input')::numeric, v_rate_input);
      end if;
      if p_usage ? 'image_input_tokens' then
        v_part := (p_usage -> 'image_input_tokens')::numeric;
        v_input := v_input - v_part;
        v_input_usd := v_input_usd + v_part * coalesce((v_rates ->> 'image_input')::numeric, v_rate_input);
      end if;
      if p_usage ? 'video_input_tokens' then
        v_part := (p_usage -> 'video_input_tokens')::numeric;
        v_input := v_input - v_part;
        v_input_usd := v_input_usd + v_part * coalesce((v_rates ->> 'video_input')::numeric, v_rate_input);
      end if;
    end if;
    v_input_usd := v_input_usd + v_input * v_rate_input;

    -- Output in the same way.
    v_rate_whole := coalesce((v_rates ->> 'output')::numeric, v_rate_input);
    if p_usage ? 'reasoning_tokens' then
      v_part := (p_usage -> 'reasoning_tokens')::numeric;
      v_output := v_output - v_part;
      v_output_usd := v_output_usd + v_part * coalesce((v_rates ->> 'reasoning')::numeric, v_rate_whole);
    end if;
    if p_usage ?| array['audio_output_tokens', 'image_output_tokens', 'video_output_tokens'] then
      if p_usage ? 'audio_output_tokens' then
        v_part := (p_usage -> 'audio_output_tokens')::numeric;
        v_output := v_output - v_part;
        v_output_usd := v_output_usd + v_part * coalesce((v_rates ->> 'audio_output')::numeric, v_rate_whole);
      end if;
      if p_usage ? 'image_output_tokens' then
        v_part := (p_usage -> 'image_output_tokens')::numeric;
        v_output := v_output - v_part;
        v_output_usd := v_output_usd + v_part * coalesce((v_rates ->> 'image_output')::numeric, v_rate_whole);
      end if;
      if p_usage ? 'video_output_tokens' then
        v_part := (p_usage -> 'video_output_tokens')::numeric;
        v_output := v_output - v_part;
        v_output_usd := v_output_usd + v_part * coalesce((v_rates ->> 'video_output')::numeric, v_rate_whole);
      end if;
    end if;
    v_output_usd := v_output_usd + v_output * v_rate_whole;

    if v_input < 0 or v_reads < 0 or v_writes < 0 or v_output < 0 then
      raise exception 'a part of the usage is larger than its whole: %', p_usage using errcode = 'invalid_parameter_value';
    end if;

    exit when v_whole is null;
    v_step := v_step + 1;
    p_usage := v_whole -> 'steps' -> v_step;
    if p_usage is null then
      p_usage := v_whole;
      exit;
    end if;
  end loop;

  -- Modifiers multiply token rates, not fees. Tier and region multiply together.
  if p_price.modifiers <> '{}' then
    v_name := copilot_internal.priced_tier(p_service_tier, p_usage ->> 'service_tier');
    if v_name is not null and p_price.modifiers ? v_name then
      v_factor := v_factor * (p_price.modifiers ->> v_name)::numeric;
    end if;
    v_name := 'region:' || coalesce(p_usage ->> 'region', p_region);
    if v_name is not null and p_price.modifiers ? v_name then
      v_factor := v_factor * (p_price.modifiers ->> v_name)::numeric;
    end if;
  end if;

  if p_price.usd_per_unit <> '{}' then
    v_fees_usd := coalesce((p_usage -> 'web_searches')::numeric * (p_price.usd_per_unit ->> 'web_search')::numeric, 0)
      + coalesce(coalesce((p_usage -> 'requests')::numeric, 1) * coalesce(
        p_price.usd_per_unit ->> ('request_' || (p_usage ->> 'search_context')), p_price.usd_per_unit ->> 'request')::numeric, 0);
  end if;

  -- round() rounds half away from zero, which is half up here because no cost is negative.
  total_cost_usd := round((v_input_usd + v_output_usd) * v_factor + v_fees_usd, 12);
  output_cost_usd := round(v_output_usd * v_factor, 12);
  input_cost_usd := total_cost_usd - output_cost_usd;
end $$;
comment on function copilot_internal.price_llm_usage(copilot_internal.model_pricing, jsonb, text, text) is 'What a usage in normal form costs by one rate card, exact to the 12th decimal; nulls for a null card.';

-- The same for a card by its id; nulls if no version has it.
create or replace function copilot_internal.price_llm_usage(
  p_price_id bigint, p_usage jsonb, p_service_tier text default null, p_region text default null,
  out input_cost_usd numeric, out output_cost_usd numeric, out total_cost_usd numeric
)
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_price copilot_internal.model_pricing;
  v_cost record;
begin
  select m.* into v_price from copilot_internal.model_pricing m where m.price_id = p_price_id;
  v_cost := copilot_internal.price_llm_usage(v_price, p_usage, p_service_tier, p_region);
  input_cost_usd := v_cost.input_cost_usd;
  output_cost_usd := v_cost.output_cost_usd;
  total_cost_usd := v_cost.total_cost_usd;
end $$;
comment on function copilot_internal.price_llm_usage(bigint, jsonb, text, text) is 'What a usage in normal form costs by the rate card of that id, superseded or not; nulls if there is none.';
