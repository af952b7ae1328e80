-- find_model_price: the rate card in force at a moment for what a name means then; a row of nulls if there is none.
create or replace function copilot_internal.find_model_price(p_provider text, p_model text, p_at timestamptz)
returns copilot_internal.model_pricing
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select copilot_internal.find_model_card(p_provider, copilot_internal.resolve_model(p_provider, p_model, p_at), p_at)
$$;
comment on function copilot_internal.find_model_price(text, text, timestamptz) is 'The rate card of what a name means at a moment (a model''s id or an alias, never a prefix); a row of nulls if there is none.';
