-- find_model_card: the version of a model's rate card in force at a moment; a row of nulls if there is none. The model
-- is named by its own id, not by an alias. Cost: one index look-up.
create or replace function copilot_internal.find_model_card(p_provider text, p_model text, p_at timestamptz)
returns copilot_internal.model_pricing
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_price copilot_internal.model_pricing;
begin
  select m.* into v_price
  from copilot_internal.model_pricing m
  where m.provider = p_provider
    and m.model = p_model
    and m.superseded_at is null
    and m.effective_date <= p_at
  order by m.effective_date desc
  limit 1;
  -- Tested here and not in the query: the version that started last decides, and after its end no price is known.
  if v_price.expires_at <= p_at then
    return null;
  end if;
  return v_price;
end $$;
comment on function copilot_internal.find_model_card(text, text, timestamptz) is 'The rate card of a model, by its own id, in force at a moment; a row of nulls if there is none.';
