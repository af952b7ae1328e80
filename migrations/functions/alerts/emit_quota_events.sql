-- emit_quota_events: write the events that are due for balances. quota.warning: spent has reached a threshold.
-- quota.exceeded: spent has reached the limit, or a decision found no room (p_refused). Each once per balance,
-- threshold and arming; a raise counts as a limit of its own. Quotas that are off emit nothing.
-- Unless p_refused, the caller holds the rows' locks (2), and next_event_usd is computed again.
-- Locks: (3), the events in key order, in one statement.
create or replace function copilot_internal.emit_quota_events(p_ids bigint[], p_refused boolean, p_now timestamptz)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Look first, insert then: in a storm of refusals the event exists already.
  insert into copilot_internal.quota_events (
    event_id, type, created_at, tenant_id, user_id, quota_id, quota_period_id, once_key, data)
  select copilot_internal.uuid_v7(p_now), d.type, p_now, p.tenant_id, p.user_id, p.quota_id, p.quota_period_id, d.once_key,
         jsonb_strip_nulls(jsonb_build_object(
           'resource_type', p.resource_type, 'scope', p.scope, 'scope_id', coalesce(p.user_id, p.tenant_id, 'platform'),
           'period', p.period, 'period_starts_at', p.starts_at, 'period_ends_at', p.ends_at,
           'enforcement', p.enforcement, 'threshold', d.threshold, 'cause', d.cause,
           'limit_usd', trim_scale(l.limit_usd)::text, 'spent_usd', trim_scale(p.spent)::text, 'reserved_usd', trim_scale(p.reserved)::text))
  from (select distinct u.id from unnest(p_ids) u(id)) u
  cross join lateral (select p.* from copilot_internal.quota_periods p where p.quota_period_id = u.id offset 0) p
  cross join lateral (select q.thresholds from copilot_internal.cost_quotas q where q.quota_id = p.quota_id offset 0) q
  cross join lateral (
    select copilot_internal.running_limit(p.limit_usd, p.raise_limit_usd, p.raise_until, p_now) as limit_usd,
           p.quota_period_id || ':' || p.arming || case when p.raise_until > p_now then ':raised' else '' end as armed) l
  cross join lateral (
    select 'quota.warning' as type, l.armed || ':' || trim_scale(t.threshold) as once_key, t.threshold, null as cause
    from unnest(q.thresholds) t(threshold)
    where not p_refused and p.spent >= t.threshold * l.limit_usd
    union all
    select 'quota.exceeded', l.armed, null, case when p_refused then 'refusal' else 'spent' end
    where p_refused or p.spent >= l.limit_usd
  ) d
  where p.enforcement <> 'off' and (p_refused or p.spent > 0)
    and not exists (select from copilot_internal.quota_events e where e.type = d.type and e.once_key = d.once_key)
  order by d.type, d.once_key
  on conflict do nothing;

  if not p_refused then
    update copilot_internal.quota_periods p
      set next_event_usd = coalesce((
        select min(t.threshold * l.limit_usd)
        from copilot_internal.cost_quotas q, unnest(q.thresholds || 1::numeric) t(threshold),
             lateral (select copilot_internal.running_limit(p.limit_usd, p.raise_limit_usd, p.raise_until, p_now) as limit_usd) l
        where q.quota_id = p.quota_id
          -- Nothing is emitted while nothing is spent, so a limit of 0 is due with the first cost.
          and (t.threshold * l.limit_usd > p.spent or p.spent = 0)), 'infinity')
      where p.quota_period_id = any (p_ids);
  end if;
end $$;
comment on function copilot_internal.emit_quota_events(bigint[], boolean, timestamptz) is 'Writes the warnings and exceeded events that are due for balances.';
