-- cost_key_hash: what tells the rollups of one time apart; nulls and odd characters included.
create or replace function copilot_internal.cost_key_hash(
  p_resource_type copilot_internal.resource_type, p_tenant_id text, p_provider text, p_model text, p_tier text
)
returns bytea
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select sha256(convert_to(jsonb_build_array(p_resource_type, p_tenant_id, p_provider, p_model, p_tier)::text, 'UTF8'))
$$;
comment on function copilot_internal.cost_key_hash(copilot_internal.resource_type, text, text, text, text) is 'The hash of the attribution of a rollup.';
