-- quota_json: a quota as the service reads it. Amounts are text, so that no client turns them into floats.
create or replace function copilot_internal.quota_json(q copilot_internal.cost_quotas)
returns json
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    'quota_id', q.quota_id, 'resource_type', q.resource_type, 'scope', q.scope, 'tenant_id', q.tenant_id, 'user_id', q.user_id,
    'period', q.period, 'limit_usd', q.limit_usd::text, 'enforcement', q.enforcement, 'thresholds', q.thresholds,
    'time_zone', q.time_zone, 'week_starts_on', q.week_starts_on, 'billing_day', q.billing_day,
    'raise', case when q.raise_until is not null then json_build_object('limit_usd', q.raise_limit_usd::text, 'until', q.raise_until) end,
    'created_at', q.created_at, 'updated_at', q.updated_at)
$$;
comment on function copilot_internal.quota_json(copilot_internal.cost_quotas) is 'A quota as JSON, amounts as text.';
