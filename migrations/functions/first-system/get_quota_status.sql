-- get_quota_status: the quotas of one scope with their running balances, in the form that callers of the first system
-- know.
-- p_scope: platform (p_scope_id is ignored), tenant, or user (in every tenant). p_resource_type: llm, e2b, or null for
-- both. While a raise runs, limit_usd is the raised limit. status: exceeded (spent has reached the limit), warning
-- (spent has reached the first threshold), ok, or off (not enforced).
create or replace function copilot_internal.get_quota_status(
  p_scope text, p_scope_id text, p_resource_type text default null
)
returns table (
  quota_id bigint, resource_type text, scope text, scope_id text, tenant_id text, period text, enforcement text,
  limit_usd numeric, spent_usd numeric, reserved_usd numeric, remaining_usd numeric, percent_used numeric,
  period_start timestamptz, period_end timestamptz, status text
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select q.quota_id, q.resource_type::text, q.scope, q.scope_id, q.tenant_id, q.period, q.enforcement, q.limit_usd,
         q.current_spend_usd, q.reserved_usd, greatest(q.limit_usd - q.current_spend_usd - q.reserved_usd, 0),
         case when q.limit_usd > 0 then round(q.current_spend_usd * 100 / q.limit_usd, 2) end,
         q.period_start, q.period_end,
         case when q.enforcement = 'off' then 'off'
              when q.current_spend_usd >= q.limit_usd then 'exceeded'
              when q.current_spend_usd >= q.limit_usd * q.warning_threshold then 'warning'
              else 'ok' end
  from copilot_internal.cost_quota_status q
  where q.scope = p_scope and (p_scope = 'platform' or q.scope_id = p_scope_id)
    and (p_resource_type is null or q.resource_type::text = p_resource_type)
  order by q.quota_id
$$;
comment on function copilot_internal.get_quota_status(text, text, text) is 'The quotas of a scope with their running balances.';
