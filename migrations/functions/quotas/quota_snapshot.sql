-- quota_snapshot: a quota's settings for the audit log, with amounts as exact numbers.
create or replace function copilot_internal.quota_snapshot(q copilot_internal.cost_quotas)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when q.quota_id is not null then jsonb_build_object(
    'quota_id', q.quota_id, 'resource_type', q.resource_type, 'scope', q.scope, 'tenant_id', q.tenant_id, 'user_id', q.user_id,
    'period', q.period, 'limit_usd', trim_scale(q.limit_usd), 'enforcement', q.enforcement, 'thresholds', q.thresholds,
    'time_zone', q.time_zone, 'week_starts_on', q.week_starts_on, 'billing_day', q.billing_day,
    'raise', case when q.raise_until is not null then jsonb_build_object(
      'limit_usd', trim_scale(q.raise_limit_usd),
      'until', to_char(q.raise_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) end)
  end
$$;
comment on function copilot_internal.quota_snapshot(copilot_internal.cost_quotas) is 'A quota''s settings for the audit log.';
