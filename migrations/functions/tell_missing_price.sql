-- tell_missing_price: the event price.missing of a request that was refused because its model has no price; once a model and day.
create or replace function copilot_internal.tell_missing_price(p_provider text, p_model text)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := copilot_internal.clock_now();
begin
  insert into copilot_internal.quota_events (event_id, type, created_at, once_key, data)
  values (copilot_internal.uuid_v7(v_now), 'price.missing', v_now, copilot_internal.missing_price_key(p_provider, p_model, v_now),
    jsonb_strip_nulls(jsonb_build_object('provider', p_provider, 'model', p_model)))
  on conflict do nothing;
end $$;
comment on function copilot_internal.tell_missing_price(text, text) is 'Writes price.missing for a refused model, once a day.';
