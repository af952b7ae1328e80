-- emit_commit_events: write the events of commits that were just booked. quota.overrun: the cost is above the hold.
-- reservation.late: the commit was late. Where only the reserved amount could be booked (rule 10): price.missing, by
-- emit_missing_prices(), or usage.unreadable, once per tenant, provider, place in the usage object and day of UTC,
-- within the bounds of emit_name_events().
-- The caller holds locks (1) of the reservations. Locks: (3), those of emit_name_events() for one type and then for the
-- other -> the other events in key order.
create or replace function copilot_internal.emit_commit_events(p_done copilot_internal.settlement[], p_now timestamptz)
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  -- The principal that made the hold.
  select copilot_internal.emit_missing_prices(array_agg(r.principal), array_agg(r.tenant_id),
      array_agg(case r.resource_type when 'llm' then coalesce((d.item).provider, r.provider) else 'e2b' end),
      array_agg(case r.resource_type when 'llm' then coalesce((d.item).model, r.model) else r.tier end), p_now)
  from unnest(p_done) d
  cross join lateral copilot_internal.find_reservation(d.reservation_id) r
  where d.estimate_reason = 'unpriced'
  having count(*) > 0;

  select copilot_internal.emit_name_events('usage.unreadable', array_agg(r.principal), array_agg(r.tenant_id),
      array_agg(json_build_array(r.tenant_id, w.provider, w.pointer)::text),
      array_agg(jsonb_build_object('provider', w.provider, 'model', w.model, 'pointer', w.pointer, 'reason', w.reason)), p_now)
  from unnest(p_done) d
  cross join lateral copilot_internal.find_reservation(d.reservation_id) r
  cross join lateral (
    select case r.resource_type when 'llm' then coalesce((d.item).provider, r.provider) else 'e2b' end as provider,
           case r.resource_type when 'llm' then coalesce((d.item).model, r.model) else r.tier end as model,
           coalesce(copilot_internal.pointer_shape((d.item).unreadable_usage #>> '{reasons,0,pointer}'), '') as pointer,
           left((d.item).unreadable_usage #>> '{reasons,0,message}', 200) as reason) w
  where d.estimate_reason = 'usage_unreadable'
  having count(*) > 0;

  insert into copilot_internal.quota_events (event_id, type, created_at, tenant_id, user_id, once_key, data)
  select copilot_internal.uuid_v7(p_now), e.type, p_now, e.tenant_id, e.user_id, e.once_key, jsonb_strip_nulls(e.data)
  from unnest(p_done) d
  cross join lateral copilot_internal.find_reservation(d.reservation_id) r
  cross join lateral (
    select jsonb_build_object(
             'reservation_id', r.reservation_id, 'cost_record_id', (d.item).cost_record_id, 'resource_type', r.resource_type,
             'conversation_id', r.conversation_id, 'reserved_usd', trim_scale(r.reserved_usd)::text, 'cost_usd', trim_scale(d.cost_usd)::text) as shared) m
  cross join lateral (
    select 'quota.overrun' as type, r.tenant_id, r.user_id, r.reservation_id::text as once_key,
           m.shared || jsonb_build_object('overrun_usd', trim_scale(d.cost_usd - r.reserved_usd)::text) as data
    where d.cost_usd > r.reserved_usd
    union all
    select 'reservation.late', r.tenant_id, r.user_id, r.reservation_id::text,
           m.shared || jsonb_build_object('expired_at', r.expires_at)
    where d.late
  ) e
  order by e.type, e.once_key
  on conflict do nothing
$$;
comment on function copilot_internal.emit_commit_events(copilot_internal.settlement[], timestamptz) is 'Writes the events of commits: overrun, late, missing price, unreadable usage.';
