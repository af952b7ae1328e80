-- find_model_price: the version of a model's rate card that was in force at a time, or null.
-- The name is the model's own or an alias, whole in either case: a prefix resolves to a sibling and prices it wrongly.
-- Cost: one index look-up; three for an alias, each by a whole key, so that no plan depends on statistics.
create or replace function copilot_internal.find_model_price(p_provider text, p_model text, p_at timestamptz)
  returns copilot_internal.model_pricing
  language plpgsql
  stable
  parallel safe
  set search_path = pg_catalog, pg_temp
  set enable_seqscan = off
as $$
declare
  v_price copilot_internal.model_pricing;
  v_model text := p_model;
  v_is_alias boolean := false;
begin
  loop
    select m.* into v_price
    from copilot_internal.model_pricing as m
    where m.provider = p_provider
      and m.model = v_model
      and m.superseded_at is null
      and m.effective_date <= p_at
    order by m.effective_date desc
    limit 1;
    exit when found or v_is_alias;

    select a.model into v_model
    from copilot_internal.model_aliases as a
    where a.provider = p_provider and a.alias = p_model;
    exit when not found;
    v_is_alias := true;
  end loop;

  -- Tested here and not in the look-up: the latest start decides, and a gap after it means that no price is known.
  if v_price.expires_at <= p_at then
    return null;
  end if;
  return v_price;
end
$$;

comment on function copilot_internal.find_model_price(text, text, timestamptz) is
  'The rate card of a model (by its id or an alias, never by a prefix) in force at a time; a row of nulls where none is.';
