-- extend_reservation: hold reservations for longer, or for a larger total, or both, each by extend_hold(). Those that
-- move no money come first, then the others in order.
--
-- p_items: [{ reservation_id, tenant_id, estimate, amount_usd, ttl_seconds }, ...]. tenant_id: as in commit_item; the
-- rest as in extend_hold(). Each reservation comes once. p_enforcement: as in reserve_spend().
-- Answers an array: answers[i] is what extend_hold() answers to items[i]. Bound: 500 items a call.
--
-- Locks: (0) shared advisory, then missing quotas, periods and scopes -> (1) the reservations by id -> (2)
-- quota_periods by id, before the decisions, so that a refusal writes nothing. A longer time alone locks no balance.
create or replace function copilot_internal.extend_reservation(p_items json, p_enforcement text default 'enforce')
returns json
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
-- Short, so that time is left for the other items, whose locks are free.
set lock_timeout = '1000ms'
as $$
declare
  v_now timestamptz;
  v_service integer := array_position(array['off', 'warn', 'enforce'], p_enforcement) - 1;
  v_scopes record;
  v_running bigint[];
  v_known uuid[];
  v_item record;
  v_answers json[];
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'extend_reservation() runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
  end if;
  if v_service is null then
    raise exception 'enforcement % is not one of enforce, warn, off', p_enforcement using errcode = 'invalid_parameter_value';
  end if;
  if json_array_length(p_items) not between 1 and 500 then
    raise exception 'a batch has 1 to 500 items' using errcode = 'program_limit_exceeded';
  end if;
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  v_now := copilot_internal.clock_now();

  -- Periods are made before a reservation is locked. Under lock (0) the end of the held periods can only move later.
  select array_agg(k.resource_type) as types, array_agg(k.tenant_id) as tenants, array_agg(k.user_id) as users into v_scopes
    from (
      select distinct s.*
      from json_to_recordset(p_items) i(reservation_id uuid)
      cross join lateral copilot_internal.find_reservation(i.reservation_id) r
      cross join lateral (values (r.resource_type, '', ''), (r.resource_type, r.tenant_id, ''),
        (r.resource_type, r.tenant_id, coalesce(r.user_id, ''))) s(resource_type, tenant_id, user_id)
      where r.status = 'reserved' and r.expires_at > v_now and r.periods_end_at <= v_now
    ) k;
  if v_scopes.types is not null then
    select p.ids into v_running from copilot_internal.scope_periods(v_scopes.types, v_scopes.tenants, v_scopes.users, v_now) p;
  end if;

  -- Lock (1). There is no filter on status, as in commit_spend(). A reservation that does not exist now is unknown.
  v_known := array(
    select r.reservation_id from (select i.reservation_id from json_to_recordset(p_items) i(reservation_id uuid) order by i.reservation_id) i
    cross join lateral (
      select r.reservation_id from copilot_internal.reservations r where r.reservation_id = i.reservation_id
      for update
    ) r);
  if cardinality(v_known) > (select count(distinct k.id) from unnest(v_known) k(id)) then
    raise exception 'a batch extends each reservation once' using errcode = 'invalid_parameter_value';
  end if;

  for v_item in
    select i.ordinality, i.reservation_id, i.tenant_id, i.estimate, i.amount_usd, i.ttl_seconds, m.is_money,
           m.is_money and lag(m.is_money) over (order by m.is_money, i.ordinality) is distinct from true as is_first
    from (
      select e.ordinality, (e.value ->> 'reservation_id')::uuid as reservation_id, e.value ->> 'tenant_id' as tenant_id,
             (e.value ->> 'estimate')::jsonb as estimate, (e.value ->> 'amount_usd')::numeric as amount_usd,
             (e.value ->> 'ttl_seconds')::integer as ttl_seconds
      from json_array_elements(p_items) with ordinality e
    ) i
    left join lateral copilot_internal.find_reservation(i.reservation_id) r on r.reservation_id = any (v_known)
    cross join lateral (select i.amount_usd is not null or coalesce(r.periods_end_at <= v_now, false) as is_money) m
    order by m.is_money, i.ordinality
  loop
    if v_item.is_first then
      -- Lock (2): all balances that the remaining items change, in id order.
      perform from (
          select distinct p.id
          from unnest(v_known) k(reservation_id)
          cross join lateral copilot_internal.find_reservation(k.reservation_id) r
          cross join lateral unnest(r.quota_period_ids || v_running) p(id)
          where r.periods_end_at <= v_now or r.reservation_id in (
            select i.reservation_id from json_to_recordset(p_items) i(reservation_id uuid, amount_usd numeric) where i.amount_usd is not null)
          order by p.id
        ) u
        cross join lateral (
          select from copilot_internal.quota_periods p where p.quota_period_id = u.id
          for no key update
        ) p;
    end if;
    v_answers[v_item.ordinality] := case
      when not v_item.reservation_id = any (v_known) then json_build_object('unknown', true)
      else copilot_internal.extend_hold(
        v_item.reservation_id, v_item.tenant_id, v_item.estimate, v_item.amount_usd, v_item.ttl_seconds, v_service, v_now)
    end;
  end loop;
  -- Events come last, so that this waits for nothing while it holds an event's key. A quota that warns is exceeded as
  -- well.
  perform copilot_internal.emit_quota_events(noted.ids, true, v_now)
    from (
      select array_agg((a.answer -> 'ids' ->> (v.value ->> 0)::integer)::bigint) as ids
      from unnest(v_answers) a(answer)
      cross join lateral json_array_elements(
        case json_typeof(a.answer -> 'warned') when 'array' then a.answer -> 'warned' else a.answer -> 'refused' -> 'violations' end) v
    ) noted
    where noted.ids is not null and v_service > 0;
  return array_to_json(v_answers);
end $$;
comment on function copilot_internal.extend_reservation(json, text) is 'Holds reservations for longer or for a larger total, in the running periods; answers per item.';
