-- fan_out_events: queues events for the endpoints that are to hear of them, by priority and then the oldest first; answers how many it
-- looked at.
--
-- Priority 0 is what money does that comes seldom, and every type that is not named; 1 comes once a reservation, and a caller can make
-- many; 2 is not about money that moved. A backlog of what waits delays nothing that goes before it.
-- An event goes to each enabled endpoint that is not younger than it and whose types, tenant and scope it fits, once. The scope
-- of an event that is of no quota: user where it names one, else tenant, else platform; price.missing and usage.unreadable are the
-- platform's too, where prices are made and usage objects read. A delivery that was given up is not told to the endpoint that it was for.
-- Safe with several at once: an event that another transaction works on is left to it.
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
  -- Locked, so that none is deleted before its deliveries stand.
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
comment on function copilot_internal.fan_out_events(integer) is 'Queues events for the endpoints that are to hear of them.';
