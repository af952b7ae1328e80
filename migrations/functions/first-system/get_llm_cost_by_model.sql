-- get_llm_cost_by_model: what each model cost in a span (p_from inclusive, p_to exclusive), over all tenants, the most
-- expensive first.
create or replace function copilot_internal.get_llm_cost_by_model(p_from timestamptz, p_to timestamptz)
returns table (provider text, model text, tenants bigint, requests bigint, tokens numeric, total_cost_usd numeric)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select c.provider, c.model, count(*), sum(c.requests)::bigint, sum(c.tokens), sum(c.total_cost_usd)
  from copilot_internal.llm_costs_between(null, p_from, p_to) c
  group by c.provider, c.model
  order by sum(c.total_cost_usd) desc, c.provider, c.model
$$;
comment on function copilot_internal.get_llm_cost_by_model(timestamptz, timestamptz) is 'Costs of model calls in a span by model.';
