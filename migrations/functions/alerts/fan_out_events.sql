-- fan_out_events: queue events for the endpoints that receive them, by priority and then the oldest first. Answers how
-- many events it handled.
--
-- Priority 0: rare events about money, and every type that is not named here. Priority 1: events that come once per
-- reservation, of which a caller can cause many. Priority 2: events that are not about money that moved. A backlog of
-- one priority delays nothing of a higher one.
-- An event goes once to each enabled endpoint that is not younger than the event and whose types, tenant and scope fit.
-- An event that belongs to no quota has the scope user if it names a user, else tenant if it names a tenant, else
-- platform. price.missing and usage.unreadable go to the platform too, because prices and readers of usage objects are
-- made there. A failed delivery is not reported to the endpoint that it was for.
-- Several may run at once: an event that another transaction has locked is skipped.
-- Bound: p_events_max events a call.
create or replace function copilot_internal.fan_out_events(p_events_max integer)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := copilot_internal.clock_now();
  v_events integer;
begin
  with events as materialized (
    select e.event_id, e.type, e.created_at, e.tenant_id, e.data ->> 'endpoint_id' as failed_endpoint_id,
           coalesce(e.data ->> 'scope',
             case when e.user_id is not null then 'user' when e.tenant_id is not null then 'tenant' else 'platform' end) as scope,
           case when e.type in ('price.missing', 'price.stale', 'usage.unreadable', 'usage.unread', 'delivery.failed') then 2
             when e.type in ('quota.overrun', 'reservation.late', 'reservation.lapsed') then 1
             else 0 end as priority
    from copilot_internal.quota_events e
    where e.endpoint_ids is null
    order by priority, e.event_id
    limit p_events_max
    for update skip locked
  ),
  -- Locked, so that no endpoint is deleted before its deliveries are stored.
  endpoints as materialized (
    select w.* from copilot_internal.webhook_endpoints w where w.enabled order by w.endpoint_id for key share
  ),
  queued as (
    insert into copilot_internal.webhook_deliveries (delivery_id, endpoint_id, event_id, status, priority, next_attempt_at, created_at)
    select copilot_internal.uuid_v7(v_now), w.endpoint_id, e.event_id, 'pending', e.priority, v_now, v_now
    from events e
    join endpoints w on (cardinality(w.types) = 0 or e.type = any (w.types))
      and (w.tenant_id is null or w.tenant_id = e.tenant_id)
      and (w.scope is null or w.scope = e.scope or e.type in ('price.missing', 'usage.unreadable') and w.scope = 'platform')
      and w.created_at <= e.created_at
      and (e.type <> 'delivery.failed' or e.failed_endpoint_id is distinct from w.endpoint_id::text)
    order by e.event_id
    returning event_id, endpoint_id
  )
  update copilot_internal.quota_events q
    set endpoint_ids = array(select d.endpoint_id from queued d where d.event_id = e.event_id)
    from events e
    where q.event_id = e.event_id;
  get diagnostics v_events = row_count;
  return v_events;
end $$;
comment on function copilot_internal.fan_out_events(integer) is 'Queues events for the endpoints that receive them.';
