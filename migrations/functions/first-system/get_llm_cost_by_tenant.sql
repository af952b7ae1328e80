-- get_llm_cost_by_tenant: what a tenant's model calls cost in a span (p_from inclusive, p_to exclusive), the most
-- expensive model first.
create or replace function copilot_internal.get_llm_cost_by_tenant(
  p_tenant_id text, p_from timestamptz, p_to timestamptz
)
returns table (provider text, model text, requests bigint, tokens numeric, total_cost_usd numeric)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select c.provider, c.model, c.requests, c.tokens, c.total_cost_usd
  from copilot_internal.llm_costs_between(p_tenant_id, p_from, p_to) c
  where p_tenant_id is not null
  order by c.total_cost_usd desc, c.provider, c.model
$$;
comment on function copilot_internal.get_llm_cost_by_tenant(text, timestamptz, timestamptz) is 'Costs of a tenant''s model calls in a span, by model.';
