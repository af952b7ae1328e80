-- emit_missing_prices: write price.missing for models, or tiers of e2b, that a request or commit named and that have no
-- price. Once per tenant, name and day of UTC, with the bounds and locks of emit_name_events(). No other function
-- writes price.missing.
-- Item i: p_principals[i] asked for p_models[i] of p_providers[i] (null where none was named) for p_tenants[i].
create or replace function copilot_internal.emit_missing_prices(
  p_principals text[], p_tenants text[], p_providers text[], p_models text[], p_now timestamptz default null
)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select copilot_internal.emit_name_events('price.missing', array_agg(m.principal), array_agg(m.tenant_id),
      array_agg(json_build_array(m.tenant_id, m.provider, m.model)::text),
      array_agg(jsonb_build_object('provider', m.provider, 'model', m.model)),
      coalesce(p_now, copilot_internal.clock_now()))
  from unnest(p_principals, p_tenants, p_providers, p_models) m(principal, tenant_id, provider, model)
$$;
comment on function copilot_internal.emit_missing_prices(text[], text[], text[], text[], timestamptz) is 'Writes price.missing: once per tenant, name and day, 50 names per principal and day.';
