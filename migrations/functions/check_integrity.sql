-- check_integrity: the rows that break an invariant of the money; no row means healthy. One statement, so one snapshot.
-- Reads every reservation, balance and record: for operators and tests, not for the hot path. src/services/integrity.ts
-- and docs/operations.md say what to do about each.
create or replace function copilot_internal.check_integrity()
returns table (invariant text, subject text, detail text)
language sql stable
set search_path = pg_catalog, pg_temp
-- Postgres would compile a plan that looks this expensive. On a small database that takes longer than the check.
set jit = off
as $$
  with now as materialized (select copilot_internal.clock_now() as at),
  records as (
    select cost_record_id, reservation_id, total_cost_usd, corrects, quota_period_ids, estimated, estimate_reason, priced_at
    from copilot_internal.llm_cost_records
    union all
    select cost_record_id, reservation_id, total_cost_usd, corrects, quota_period_ids, estimated, estimate_reason, priced_at
    from copilot_internal.e2b_cost_records
  ),
  held as (
    select p.id, sum(r.reserved_usd) as usd
    from copilot_internal.reservations r cross join lateral unnest(r.quota_period_ids) p(id)
    where r.status = 'reserved' group by p.id
  ),
  booked as (
    -- Sum by the whole list first: many lines share a list, and each list is unnested once.
    select p.id, sum(c.usd) as usd
    from (select quota_period_ids, sum(total_cost_usd) as usd from records group by quota_period_ids) c
    cross join lateral unnest(c.quota_period_ids) p(id) group by p.id
  ),
  -- Lines that are in force: neither reversed nor a reversal. Two conditions, because with one "or" the planner
  -- compares every line with every correction.
  current_lines as (
    select c.reservation_id, count(*) as lines, max(c.cost_record_id::text) as cost_record_id
    from records c
    where not exists (select from copilot_internal.record_corrections k where k.corrects = c.cost_record_id)
      and not exists (select from copilot_internal.record_corrections k where k.reversal_id = c.cost_record_id)
    group by c.reservation_id
  )
  select 'I1', 'quota_period ' || h.id, format('open holds of %s name it, but it is not there', h.usd)
  from held h left join copilot_internal.quota_periods p on p.quota_period_id = h.id
  where p.quota_period_id is null
  union all
  select 'I1', 'quota_period ' || p.quota_period_id,
         format('reserved is %s, its open holds sum to %s', p.reserved, coalesce(h.usd, 0))
  from copilot_internal.quota_periods p left join held h on h.id = p.quota_period_id
  where p.reserved <> coalesce(h.usd, 0)
  union all
  select 'I1', 'quota_period ' || p.quota_period_id,
         format('spent is %s, opening %s + archived %s + records %s', p.spent, p.opening_usd, p.archived_usd + coalesce(u.cost_usd, 0), coalesce(b.usd, 0))
  from copilot_internal.quota_periods p
  left join booked b on b.id = p.quota_period_id
  left join copilot_internal.uncarried_costs() u on u.quota_period_id = p.quota_period_id
  where p.spent <> p.opening_usd + p.archived_usd + coalesce(u.cost_usd, 0) + coalesce(b.usd, 0)
  union all
  select 'I2', 'quota_period ' || p.quota_period_id,
         format('spent %s + reserved %s is above the limit %s and no cause is known', p.spent, p.reserved, p.limit_usd)
  from copilot_internal.quota_periods p
  where p.enforcement = 'enforce' and p.over_cause is null
    -- A raise that has ended may have left the balance above its limit.
    and p.spent + p.reserved > greatest(p.limit_usd, p.raise_limit_usd)
  union all
  select 'I3', 'reservation ' || r.reservation_id, format('still reserved, but lapsed at %s', r.expires_at)
  from copilot_internal.reservations r cross join now
  where r.status = 'reserved' and r.expires_at < now.at - interval '1 minute'
  union all
  select 'I3', 'reservation ' || r.reservation_id, format('status %s does not fit settled_at %s', r.status, r.settled_at)
  from copilot_internal.reservations r
  where (r.status = 'reserved') <> (r.settled_at is null)
  union all
  select 'I4', 'reservation ' || r.reservation_id,
         format('status %s, cost record %s, but %s lines of cost stand', r.status, coalesce(r.cost_record_id::text, 'none'), coalesce(l.lines, 0))
  from copilot_internal.reservations r left join current_lines l on l.reservation_id = r.reservation_id
  where case when r.status = 'committed' or r.cost_record_id is not null
          then l.lines is distinct from 1 or (r.status = 'committed' and r.cost_usd is null)
          else l.lines is not null end
  union all
  -- Lines from before migration 0020 have these facts in line_facts, if their reservations still existed.
  select 'I4', 'cost_record ' || c.cost_record_id,
         format('estimated is %s, but its reason is %s', c.estimated, coalesce(c.estimate_reason::text, 'none'))
  from records c
  where c.priced_at is not null and c.estimated <> (c.estimate_reason is not null)
  union all
  select 'I10', 'quota_period ' || p.quota_period_id,
         format('spent %s has reached %s of the limit %s, but no event says so', p.spent, t.threshold, p.limit_usd)
  from copilot_internal.quota_periods p
  cross join now
  join copilot_internal.cost_quotas q on q.quota_id = p.quota_id
  cross join lateral unnest(q.thresholds || 1::numeric) t(threshold)
  -- Left out: a raise that has ended, whose event comes with the next cost; and old periods, whose events may be
  -- deleted.
  where p.enforcement <> 'off' and p.closed_at is null and p.ends_at > now.at and p.raise_until is null
    and p.spent > 0 and p.spent >= t.threshold * p.limit_usd
    and not exists (
      select from copilot_internal.quota_events e
      where e.quota_period_id = p.quota_period_id
        and case when t.threshold = 1 then e.type = 'quota.exceeded' and e.once_key = p.quota_period_id || ':' || p.arming
            else e.type = 'quota.warning' and e.once_key = p.quota_period_id || ':' || p.arming || ':' || trim_scale(t.threshold) end)
  union all
  select 'I10', 'quota_event ' || e.once_key, format('%s was emitted %s times', e.type, count(*))
  from copilot_internal.quota_events e
  group by e.type, e.once_key having count(*) > 1
  union all
  select 'I10', 'quota_event ' || e.event_id, format('it was queued for endpoint %s, but there is no delivery', w.endpoint_id)
  from copilot_internal.quota_events e
  cross join lateral unnest(e.endpoint_ids) w(endpoint_id)
  where exists (select from copilot_internal.webhook_endpoints k where k.endpoint_id = w.endpoint_id)
    and not exists (
      select from copilot_internal.webhook_deliveries d where d.event_id = e.event_id and d.endpoint_id = w.endpoint_id)
  union all
  select 'I10', 'delivery ' || d.delivery_id, format('%s was given up after %s attempts, but no event says so', e.type, d.attempts)
  from copilot_internal.webhook_deliveries d
  join copilot_internal.quota_events e on e.event_id = d.event_id
  where d.status = 'failed' and e.type <> 'delivery.failed'
    and not exists (
      select from copilot_internal.quota_events f
      where f.type = 'delivery.failed' and f.once_key = d.delivery_id || ':' || d.redeliveries)
  union all
  -- The unique index forbids it, unless the index is missing or damaged.
  select 'keys', format('principal %s, tenant %s', r.principal, r.tenant_id), format('%s reservations have the idempotency key %s: %s', count(*), r.idempotency_key,
         string_agg(r.reservation_id::text, ', ' order by r.created_at, r.reservation_id))
  from copilot_internal.reservations r
  where r.idempotency_key is not null
  group by r.principal, r.tenant_id, r.idempotency_key having count(*) > 1
  union all
  select r.invariant, r.subject, r.detail from copilot_internal.rollup_integrity() r
  union all
  select a.invariant, a.subject, a.detail from copilot_internal.audit_integrity() a
$$;
comment on function copilot_internal.check_integrity() is 'The rows that break an invariant of the money; no row means healthy.';
