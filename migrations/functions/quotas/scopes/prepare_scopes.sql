-- prepare_scopes: make what a decision at p_now needs for these scopes: default quotas of scopes that were never seen,
-- the running periods, and the scopes' rows that name them. Such a row is valid for a day at most, which tells
-- idle_scopes() when its scope was last used.
-- Locks: rows are inserted in natural-key order while the caller holds lock (0). So if two batches meet a new tenant or
-- a new day, only one waits for the other. Bound: the scopes of one batch.
create or replace function copilot_internal.prepare_scopes(
  p_types copilot_internal.resource_type[], p_tenants text[], p_users text[], p_now timestamptz
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- A deleted quota keeps its row, so no default replaces it.
  insert into copilot_internal.cost_quotas (resource_type, scope, tenant_id, user_id, period, limit_usd, enforcement, from_default, created_at, updated_at)
  select k.resource_type, d.scope, k.tenant_id, nullif(k.user_id, ''), d.period, d.limit_usd, d.enforcement, true, p_now, p_now
  from unnest(p_types, p_tenants, p_users) k(resource_type, tenant_id, user_id)
  join copilot_internal.quota_defaults d
    on d.resource_type = k.resource_type and d.scope = case when k.user_id = '' then 'tenant' else 'user' end
  where k.tenant_id <> '' and d.deleted_at is null
    and not exists (
      select from copilot_internal.scopes s
      where s.resource_type = k.resource_type and s.tenant_id = k.tenant_id and s.user_id = k.user_id
    )
  order by k.resource_type, k.tenant_id, k.user_id, d.period
  on conflict do nothing;

  insert into copilot_internal.quota_periods (
    quota_id, resource_type, scope, tenant_id, user_id, period, starts_at, ends_at, limit_usd, raise_limit_usd, raise_until, enforcement, opened_at)
  select q.quota_id, q.resource_type, q.scope, q.tenant_id, q.user_id, q.period, b.starts_at, b.ends_at,
         q.limit_usd, q.raise_limit_usd, q.raise_until, q.enforcement, p_now
  from unnest(p_types, p_tenants, p_users) k(resource_type, tenant_id, user_id)
  cross join lateral copilot_internal.scope_quotas(k.resource_type, k.tenant_id, k.user_id) q
  cross join lateral copilot_internal.period_bounds(q.period, q.time_zone, q.week_starts_on, q.billing_day, p_now) b
  where q.deleted_at is null
  order by q.quota_id
  on conflict do nothing;

  insert into copilot_internal.scopes as s (resource_type, tenant_id, user_id, quota_period_ids, valid_from, valid_until, look_up_at)
  select k.resource_type, k.tenant_id, k.user_id,
         coalesce(array_agg(p.quota_period_id order by p.quota_period_id) filter (where p.quota_period_id is not null), '{}'),
         coalesce(max(p.starts_at), '-infinity'), coalesce(min(p.ends_at), 'infinity'), p_now + interval '1 day'
  from unnest(p_types, p_tenants, p_users) k(resource_type, tenant_id, user_id)
  left join lateral (
    select p.quota_period_id, p.starts_at, p.ends_at
    from copilot_internal.scope_quotas(k.resource_type, k.tenant_id, k.user_id) q
    cross join lateral copilot_internal.period_bounds(q.period, q.time_zone, q.week_starts_on, q.billing_day, p_now) b
    cross join lateral (
      select p.quota_period_id, p.starts_at, p.ends_at from copilot_internal.quota_periods p
      where p.quota_id = q.quota_id and p.starts_at = b.starts_at and p.closed_at is null
      offset 0
    ) p
    where q.deleted_at is null
  ) p on true
  group by k.resource_type, k.tenant_id, k.user_id
  order by k.resource_type, k.tenant_id, k.user_id
  on conflict (resource_type, tenant_id, user_id) do update
    set quota_period_ids = excluded.quota_period_ids, valid_from = excluded.valid_from, valid_until = excluded.valid_until,
        look_up_at = excluded.look_up_at;
end $$;
comment on function copilot_internal.prepare_scopes(copilot_internal.resource_type[], text[], text[], timestamptz) is 'Makes default quotas, running periods and scope rows for distinct scopes.';
