-- settle_holds: end open holds without a commit. Before expires_at a hold is released. From then on it has expired, and
-- its on_expiry says whether the amount is given back or becomes a cost record marked estimated (rule 5).
-- p_silent: the service only counts, so no quota emits an event. The caller has made the month's partitions, holds
-- locks (0) and (1), and names open reservations only.
-- Locks: (2) quota_periods by id -> (3) appends.
create or replace function copilot_internal.settle_holds(
  p_ids uuid[], p_now timestamptz, p_silent boolean default false
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_charged copilot_internal.reservations[];
begin
  if cardinality(p_ids) = 0 then
    return;
  end if;
  v_charged := array(
    select r from unnest(p_ids) u(reservation_id)
    cross join lateral copilot_internal.find_reservation(u.reservation_id) r
    where r.expires_at <= p_now and r.on_expiry = 'charge');
  perform copilot_internal.change_balances(
      array_agg(p.quota_period_id),
      array_agg(case when r.expires_at <= p_now and r.on_expiry = 'charge' then r.reserved_usd else 0 end),
      array_agg(-r.reserved_usd), 'commit', p_now, p_silent)
    from unnest(p_ids) u(reservation_id)
    cross join lateral copilot_internal.find_reservation(u.reservation_id) r
    cross join lateral unnest(r.quota_period_ids) p(quota_period_id);
  update copilot_internal.reservations r
    set status = case when r.expires_at <= p_now then 'expired' else 'released' end,
        settled_at = p_now,
        released_usd = case when r.expires_at <= p_now and r.on_expiry = 'charge' then 0 else r.reserved_usd end,
        cost_usd = case when r.expires_at <= p_now and r.on_expiry = 'charge' then r.reserved_usd end,
        cost_record_id = case when r.expires_at <= p_now and r.on_expiry = 'charge' then copilot_internal.uuid_v7(p_now) end,
        estimated = case when r.expires_at <= p_now and r.on_expiry = 'charge' then true end
    from unnest(p_ids) u(reservation_id)
    where r.reservation_id = u.reservation_id;
  insert into copilot_internal.quota_events (event_id, type, created_at, tenant_id, user_id, once_key, data)
  select copilot_internal.uuid_v7(p_now), 'reservation.lapsed', p_now, r.tenant_id, r.user_id, r.reservation_id::text,
         jsonb_strip_nulls(jsonb_build_object(
           'reservation_id', r.reservation_id, 'cost_record_id', r.cost_record_id, 'resource_type', r.resource_type,
           'conversation_id', r.conversation_id, 'reserved_usd', trim_scale(r.reserved_usd)::text,
           'charged', r.on_expiry = 'charge', 'expired_at', r.expires_at))
  from unnest(p_ids) u(reservation_id)
  cross join lateral copilot_internal.find_reservation(u.reservation_id) r
  where r.status = 'expired'
  order by r.reservation_id
  on conflict do nothing;
  if cardinality(v_charged) = 0 then
    return;
  end if;
  insert into copilot_internal.llm_cost_records (
    cost_record_id, reservation_id, tenant_id, user_id, conversation_id, path_id, labels, provider, model, service_tier, region,
    total_cost_usd, price_id, estimated, quota_period_ids, occurred_at, booked_at, recorded_at,
    priced_at, priced_model, reserved_usd, estimate_reason)
  select r.cost_record_id, r.reservation_id, r.tenant_id, r.user_id, r.conversation_id, r.path_id, r.labels, r.provider, r.model,
         r.service_tier, r.region, r.reserved_usd, r.price_id, true, r.quota_period_ids, r.granted_at, r.granted_at, p_now,
         r.created_at, r.priced_model, r.reserved_usd, 'lapse'
  from unnest(v_charged) c
  cross join lateral copilot_internal.find_reservation(c.reservation_id) r
  where r.resource_type = 'llm';
  insert into copilot_internal.e2b_cost_records (
    cost_record_id, reservation_id, tenant_id, user_id, conversation_id, path_id, labels, tier, region, vcpu, memory_mib, usage,
    execution_time_seconds, total_cost_usd, price_id, estimated, quota_period_ids, occurred_at, booked_at, recorded_at,
    priced_at, reserved_usd, estimate_reason)
  select r.cost_record_id, r.reservation_id, r.tenant_id, r.user_id, r.conversation_id, r.path_id, r.labels, r.tier, r.region,
         r.vcpu, r.memory_mib, jsonb_strip_nulls(jsonb_build_object('seconds', g.seconds)), g.seconds::numeric,
         r.reserved_usd, r.price_id, true, r.quota_period_ids, r.granted_at, r.granted_at, p_now,
         r.created_at, r.reserved_usd, 'lapse'
  from unnest(v_charged) c
  cross join lateral copilot_internal.find_reservation(c.reservation_id) r
  -- The granted seconds are charged.
  cross join lateral (select coalesce(r.caps -> 'max_runtime_seconds', r.estimate -> 'seconds') as seconds) g
  where r.resource_type = 'e2b';
end $$;
comment on function copilot_internal.settle_holds(uuid[], timestamptz, boolean) is 'Ends open holds without a commit: released, expired, or charged.';
