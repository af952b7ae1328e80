-- settle_deliveries: store how attempts ended, and emit delivery.failed for deliveries that are given up.
--
-- p_outcomes: [{ delivery_id, attempt, delivered, status?, error?, retry_after_seconds?, gone? }]. Of an attempt that a
-- later one has overtaken only a success counts. gone: the receiver answered 410; its endpoint is disabled and the
-- delivery is given up.
-- The n-th attempt is due 0 s, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h after the one before, plus up to
-- a tenth; or after what the receiver asked for (Retry-After) if that is later, at most a day. After the tenth attempt
-- the delivery is given up. A test has one attempt.
-- A delivery.failed whose own delivery failed is not reported, because that would never end. It is reported if the
-- receiver is gone, which happens once per endpoint.
-- Locks: endpoints that are gone, by id -> deliveries by id -> (3) the events.
create or replace function copilot_internal.settle_deliveries(p_outcomes jsonb)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := copilot_internal.clock_now();
begin
  update copilot_internal.webhook_endpoints w
    set enabled = false, updated_at = v_now
    from (
      select l.endpoint_id from copilot_internal.webhook_endpoints l
      where l.endpoint_id in (
        select d.endpoint_id
        from jsonb_to_recordset(p_outcomes) o(delivery_id uuid, gone boolean)
        join copilot_internal.webhook_deliveries d on d.delivery_id = o.delivery_id
        where o.gone)
      order by l.endpoint_id
      for no key update
    ) gone
    where w.endpoint_id = gone.endpoint_id and w.enabled;

  with outcomes as (
    select * from jsonb_to_recordset(p_outcomes) o(
      delivery_id uuid, attempt integer, delivered boolean, status integer, error text, retry_after_seconds integer, gone boolean)
  ),
  held as materialized (
    select d.delivery_id, d.attempts >= 10 or d.event_id is null or coalesce(o.gone, false) as is_last
    from outcomes o
    join copilot_internal.webhook_deliveries d on d.delivery_id = o.delivery_id
    order by d.delivery_id
    for update of d
  ),
  settled as (
    update copilot_internal.webhook_deliveries d
      set status = n.status,
          last_status = o.status,
          last_error = o.error,
          settled_at = case when n.status <> 'pending' then v_now end,
          next_attempt_at = case when n.status = 'pending' then v_now + make_interval(secs => greatest(
            (array[5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400])[d.attempts] * (1 + random() / 10),
            least(coalesce(o.retry_after_seconds, 0), 86400))) end
      from held h
      join outcomes o on o.delivery_id = h.delivery_id
      cross join lateral (
        select case when o.delivered then 'delivered' when h.is_last then 'failed' else 'pending' end as status) n
      where d.delivery_id = h.delivery_id and d.status = 'pending' and (o.delivered or d.attempts = o.attempt)
      returning d.*, coalesce(o.gone, false) as gone
  )
  insert into copilot_internal.quota_events (event_id, type, created_at, tenant_id, once_key, data)
  select copilot_internal.uuid_v7(v_now), 'delivery.failed', v_now, w.tenant_id, s.delivery_id || ':' || s.redeliveries,
         jsonb_strip_nulls(jsonb_build_object(
           'delivery_id', s.delivery_id, 'endpoint_id', s.endpoint_id, 'kind', w.kind, 'endpoint_disabled', s.gone,
           'failed_event_id', s.event_id, 'failed_type', e.type, 'attempts', s.attempts, 'last_status', s.last_status,
           'last_error', s.last_error))
  from settled s
  join copilot_internal.webhook_endpoints w on w.endpoint_id = s.endpoint_id
  left join copilot_internal.quota_events e on e.event_id = s.event_id
  where s.status = 'failed' and (s.gone or e.type <> 'delivery.failed')
  order by s.delivery_id
  on conflict do nothing;
end $$;
comment on function copilot_internal.settle_deliveries(jsonb) is 'Stores how attempts ended: delivered, to be tried again, or given up, which emits an event.';
