-- prepare_record_periods: make the missing balances that count direct records: those of a past period in which nothing
-- happened, or of the next one. Never one that ended before its quota existed (rule 4). They start with nothing spent,
-- because a cost that was booked while the quota existed is in a row already.
-- (p_types[i], p_tenants[i], p_users[i]) is a scope, '' for none, in which a record of p_ats[i] counts.
-- Locks: rows are inserted in natural-key order while the caller holds lock (0), after the running ones of
-- prepare_scopes().
create or replace function copilot_internal.prepare_record_periods(
  p_types copilot_internal.resource_type[], p_tenants text[], p_users text[], p_ats timestamptz[], p_now timestamptz
)
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into copilot_internal.quota_periods (
    quota_id, resource_type, scope, tenant_id, user_id, period, starts_at, ends_at, limit_usd, raise_limit_usd, raise_until, enforcement, opened_at)
  select distinct on (q.quota_id, b.starts_at) q.quota_id, q.resource_type, q.scope, q.tenant_id, q.user_id, q.period, b.starts_at, b.ends_at,
         q.limit_usd, q.raise_limit_usd, q.raise_until, q.enforcement, p_now
  from unnest(p_types, p_tenants, p_users, p_ats) k(resource_type, tenant_id, user_id, at)
  cross join lateral copilot_internal.scope_quotas(k.resource_type, k.tenant_id, k.user_id) q
  cross join lateral copilot_internal.period_bounds(q.period, q.time_zone, q.week_starts_on, q.billing_day, k.at) b
  where q.deleted_at is null and b.ends_at > q.created_at
    and not exists (select from copilot_internal.periods_at(q.quota_id, q.period, k.at))
  order by q.quota_id, b.starts_at
  on conflict do nothing
$$;
comment on function copilot_internal.prepare_record_periods(copilot_internal.resource_type[], text[], text[], timestamptz[], timestamptz) is 'Makes the missing balances of past or coming periods for direct records.';
