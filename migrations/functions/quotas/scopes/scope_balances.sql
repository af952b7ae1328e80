-- scope_balances: the balances that a decision at p_now would use, without writing anything, in the order in which it
-- would answer them. A balance that prepare_scopes() would open starts at 0; a default quota that it would make has no
-- quota_id yet.
-- Scope s is (p_types[s], p_tenants[s], p_users[s]), '' for none; all are distinct. Its balances are those from
-- first[s] to last[s] (none if last[s] < first[s]). modes: as read_balances(). balances: as change_balances() answers
-- them.
-- Locks: none. Cost: a few index look-ups per scope and quota.
create or replace function copilot_internal.scope_balances(
  p_types copilot_internal.resource_type[], p_tenants text[], p_users text[], p_now timestamptz, p_service integer,
  out first integer[], out last integer[], out limits numeric[], out spent numeric[], out reserved numeric[],
  out modes integer[], out balances json
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with found as materialized (
    select k.n, f.*, row_number() over (order by k.n, f.quota_period_id nulls last, f.quota_id nulls last, f.period) as place
    from unnest(p_types, p_tenants, p_users) with ordinality k(resource_type, tenant_id, user_id, n)
    left join lateral (
      select p.quota_period_id, q.quota_id, q.scope, q.tenant_id, q.user_id, q.period, q.enforcement, b.starts_at, b.ends_at,
             copilot_internal.running_limit(q.limit_usd, q.raise_limit_usd, q.raise_until, p_now) as limit_usd,
             coalesce(p.spent, 0) as spent, coalesce(p.reserved, 0) as reserved
      from copilot_internal.scope_quotas(k.resource_type, k.tenant_id, k.user_id) q
      cross join lateral copilot_internal.period_bounds(q.period, q.time_zone, q.week_starts_on, q.billing_day, p_now) b
      left join lateral (
        select p.quota_period_id, p.spent, p.reserved from copilot_internal.quota_periods p
        where p.quota_id = q.quota_id and p.starts_at = b.starts_at and p.closed_at is null
        offset 0
      ) p on true
      where q.deleted_at is null
      union all
      -- The default quotas that prepare_scopes() would make.
      select null, null, d.scope, k.tenant_id, nullif(k.user_id, ''), d.period, d.enforcement, b.starts_at, b.ends_at, d.limit_usd, 0, 0
      from copilot_internal.quota_defaults d
      cross join lateral copilot_internal.period_bounds(d.period, 'UTC', 1, 1, p_now) b
      where d.resource_type = k.resource_type and d.scope = case when k.user_id = '' then 'tenant' else 'user' end
        and k.tenant_id <> '' and d.deleted_at is null
        and not exists (
          select from copilot_internal.scopes s
          where s.resource_type = k.resource_type and s.tenant_id = k.tenant_id and s.user_id = k.user_id)
        and not exists (
          select from copilot_internal.scope_quotas(k.resource_type, k.tenant_id, k.user_id) q where q.period = d.period)
    ) f on true
  ),
  counted as (
    select f.n, count(f.period)::integer as own, (sum(count(f.period)) over (order by f.n))::integer as so_far from found f group by f.n
  )
  select (select array_agg(c.so_far - c.own + 1 order by c.n) from counted c),
         (select array_agg(c.so_far order by c.n) from counted c),
         coalesce(array_agg(f.limit_usd order by f.place), '{}'),
         coalesce(array_agg(f.spent order by f.place), '{}'),
         coalesce(array_agg(f.reserved order by f.place), '{}'),
         coalesce(array_agg(least(p_service, case f.enforcement when 'enforce' then 2 when 'warn' then 1 else 0 end) order by f.place), '{}'),
         json_build_object(
           'quota_period_id', json_agg(f.quota_period_id order by f.place), 'quota_id', json_agg(f.quota_id order by f.place),
           'scope', json_agg(f.scope order by f.place), 'tenant_id', json_agg(f.tenant_id order by f.place),
           'user_id', json_agg(f.user_id order by f.place), 'period', json_agg(f.period order by f.place),
           'enforcement', json_agg(f.enforcement order by f.place),
           'limit_usd', json_agg(trim_scale(f.limit_usd)::text order by f.place),
           'spent_usd', json_agg(trim_scale(f.spent)::text order by f.place),
           'reserved_usd', json_agg(trim_scale(f.reserved)::text order by f.place),
           'remaining_usd', json_agg(trim_scale(greatest(f.limit_usd - f.spent - f.reserved, 0))::text order by f.place),
           'starts_at', json_agg(f.starts_at order by f.place), 'ends_at', json_agg(f.ends_at order by f.place))
  from found f
  where f.period is not null
$$;
comment on function copilot_internal.scope_balances(copilot_internal.resource_type[], text[], text[], timestamptz, integer) is 'The balances that a decision would use, read only.';
