-- reserve_spend: hold each item's amount in every quota that applies, all or none per item.
--
-- Items are decided in order, so an item gets only the room that the items before it left. There is one exception: the
-- check before the locks may refuse some items first.
-- p_types, p_tenants, p_users: the distinct scopes of the batch. Scope s is (p_types[s], p_tenants[s], p_users[s]); a
-- missing tenant or user is ''.
-- p_amounts, p_item_scopes, p_items: item i asks for p_amounts[i] USD. Its scopes are p_item_scopes[3i-2] to
-- p_item_scopes[3i]; scopes are counted from 1, and 0 means none. p_items[i] has the other fields of item i.
-- p_priced_models[i]: the model that the name in item i stands for now. p_free[i]: whether the rate card of item i is
-- free. Both are arguments of their own, and not fields of reserve_item, so that an instance of an earlier release can
-- still call this function during an upgrade.
-- p_enforcement: the service's mode. Of this mode and the quota's own, the weaker one applies.
-- p_look_first: check the balances before anything is written, so that a refusal costs no write. The check itself costs
-- time, so ask for it only if refusals are likely. The check always runs if an item is 0 USD.
-- Answers { now, contended, ids, first, last, balances, outcomes }. contended: the answer of is_contended(). balances:
-- as change_balances() answers them. The balances of scope s are ids[first[s]] to ids[last[s]], counted from 1.
-- outcomes is null if every item is granted as asked. Otherwise outcomes[i] is one of
--   { "granted": amount, "units": granted units if fewer than asked, "warned": [[balance, spent, reserved], ...] }
--   { "refused": { "largest_allowed_usd", "violations": [[balance, spent, reserved], ...] } }
--   { "replayed": the stored reservation } | { "mismatch": true }
-- where "balance" is a position in ids, from 0. Denials are answers, not exceptions. Bound: 500 items a call.
--
-- Locks: (0) shared advisory, then missing quotas, periods and scopes in natural-key order -> (1) the new reservations
-- by their keys -> (2) quota_periods by id. The balances are locked last, because many transactions need them: this
-- keeps their locks as short as possible. So a reservation is inserted before its decision is final. If the item is
-- then refused, its reservation is deleted again.
create or replace function copilot_internal.reserve_spend(
  p_types copilot_internal.resource_type[], p_tenants text[], p_users text[], p_amounts numeric[],
  p_item_scopes integer[], p_items copilot_internal.reserve_item[], p_enforcement text default 'enforce',
  p_look_first boolean default true, p_priced_models text[] default null, p_free boolean[] default null
)
returns json
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
-- Short, so that after a timeout the service still has time to send the items whose locks are free.
set lock_timeout = '1000ms'
as $$
declare
  v_now timestamptz;
  v_contended boolean;
  v_service integer := array_position(array['off', 'warn', 'enforce'], p_enforcement) - 1;
  v_periods record;
  v_balances record;
  -- Per item: what it asks for, and what it gets. Null if the item is refused or is a repeat.
  v_wanted numeric[] := p_amounts;
  v_granted numeric[] := p_amounts;
  v_units numeric[];
  v_notes text[];
  v_inserted uuid[];
  -- Per balance.
  v_deltas numeric[];
  v_nothing numeric[];
  v_change record;
  v_again record;
  v_outcomes json;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'reserve_spend() runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
  end if;
  if v_service is null then
    raise exception 'enforcement % is not one of enforce, warn, off', p_enforcement using errcode = 'invalid_parameter_value';
  end if;
  if cardinality(p_amounts) not between 1 and 500 or cardinality(p_items) <> cardinality(p_amounts)
     or cardinality(p_item_scopes) <> 3 * cardinality(p_amounts) then
    raise exception 'a batch has 1 to 500 items, each with an amount and three scopes' using errcode = 'invalid_parameter_value';
  end if;
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  v_contended := copilot_internal.is_contended(8102116101115);
  v_now := copilot_internal.clock_now();
  select * into v_periods from copilot_internal.scope_periods(p_types, p_tenants, p_users, v_now);

  -- Only this check can refuse an item of 0 USD, because such an item changes and locks no balance. The check grants
  -- every free item.
  if p_look_first or 0 = any (p_amounts) then
    select * into v_balances from copilot_internal.read_balances(v_periods.ids, v_now, v_service);
    v_deltas := copilot_internal.sum_by_balance(v_granted, p_item_scopes, v_periods.first, v_periods.last);
    -- If all items fit together, each of them fits.
    if exists (
      select from unnest(v_deltas, v_balances.limits, v_balances.spent, v_balances.reserved, v_balances.modes) b(delta, limit_usd, spent, reserved, mode)
      where b.mode > 0 and b.spent + b.reserved + b.delta > b.limit_usd
    ) then
      -- Leave out repeats: a repeat gets the stored answer and needs no room.
      v_wanted := array(
        select case when i.nth = 1 and known.reservation_id is null then p_amounts[i.n] end
        from (
          select i.ordinality as n, i.reservation_id, i.principal, i.tenant_id, i.idempotency_key,
                 case when i.idempotency_key is null then 1 else row_number() over (partition by i.principal, i.tenant_id, i.idempotency_key order by i.ordinality) end as nth
          from unnest(p_items) with ordinality i
        ) i
        -- An index look-up per item, as in find_reservation(). For a plain "exists", the planner could choose a scan of
        -- all reservations.
        left join lateral (
          (select r.reservation_id from copilot_internal.reservations r where r.reservation_id = i.reservation_id offset 0)
          union all
          (select r.reservation_id from copilot_internal.reservations r
           where r.principal = i.principal and r.tenant_id = i.tenant_id and r.idempotency_key = i.idempotency_key offset 0)
          limit 1
        ) known on true
        order by i.n);
      -- Refuse here only items that do not fit alone. Items that fit alone but not together are decided later, under
      -- the locks. If they were decided in order here, item A could take the room of item B, and B would be refused. If
      -- A is then refused under the locks, the refusal of B was wrong.
      select d.o_amounts, d.o_granted_units, d.o_notes into v_granted, v_units, v_notes
        from copilot_internal.decide_items(p_items, v_wanted, p_free, p_item_scopes, v_periods.first, v_periods.last,
          v_balances.limits, v_balances.spent, v_balances.reserved, v_balances.modes, p_in_order => false) d;
    end if;
  end if;

  -- An item is not inserted if its key or id exists. If another transaction is inserting the same key, this insert
  -- waits for the end of that transaction first.
  with inserted as (
    insert into copilot_internal.reservations (
      reservation_id, resource_type, tenant_id, user_id, conversation_id, path_id, labels, principal, idempotency_key, request_hash,
      provider, model, service_tier, region, tier, vcpu, memory_mib, estimate, price_id, priced_model, reserved_usd, caps, on_expiry,
      created_at, granted_at, expires_at, quota_period_ids, periods_end_at, is_free)
    select i.reservation_id, i.resource_type, i.tenant_id, i.user_id, i.conversation_id, i.path_id, coalesce(i.labels, '{}'),
           i.principal, i.idempotency_key, i.request_hash,
           i.provider, i.model, i.service_tier, i.region, i.tier, i.vcpu, i.memory_mib, i.estimate, i.price_id, p_priced_models[i.ordinality], v_granted[i.ordinality],
           case when v_units[i.ordinality] is not null then jsonb_build_object(i.caps_name, v_units[i.ordinality]) end,
           i.on_expiry, v_now, v_now, v_now + make_interval(secs => case when i.ttl_beyond_units is null or v_units[i.ordinality] is null then i.ttl_seconds
             else i.ttl_beyond_units + v_units[i.ordinality] end),
           v_periods.ids[v_periods.first[s.a]:v_periods.last[s.a]]
             || v_periods.ids[v_periods.first[s.b]:v_periods.last[s.b]]
             || v_periods.ids[v_periods.first[s.c]:v_periods.last[s.c]],
           least(v_periods.until[s.a], v_periods.until[s.b], v_periods.until[s.c]), coalesce(p_free[i.ordinality], false)
    from unnest(p_items) with ordinality i
    cross join lateral (
      select p_item_scopes[3 * i.ordinality - 2] as a, p_item_scopes[3 * i.ordinality - 1] as b, p_item_scopes[3 * i.ordinality] as c) s
    where v_granted[i.ordinality] is not null
    -- Every batch inserts in key order, so that two batches cannot deadlock. If two items have the same key, the first
    -- is inserted.
    order by i.principal, i.tenant_id, i.idempotency_key, i.ordinality
    on conflict do nothing
    returning reservation_id
  )
  select coalesce(array_agg(reservation_id), '{}') into v_inserted from inserted;
  if cardinality(v_inserted) < cardinality(p_amounts) then
    v_granted := array(
      select case when i.reservation_id = any (v_inserted) then v_granted[i.ordinality] end
      from unnest(p_items) with ordinality i order by i.ordinality);
  end if;

  v_deltas := copilot_internal.sum_by_balance(v_granted, p_item_scopes, v_periods.first, v_periods.last);
  v_nothing := array_fill(0::numeric, array[cardinality(v_deltas)]);
  select * into v_change from copilot_internal.change_balances(v_periods.ids, v_nothing, v_deltas, 'warned', v_now, p_distinct => true);
  if v_change.over then
    -- A changed balance is above its limit: refuse items or warn. The balances are locked now, so decide again. This
    -- batch is already in the balances, so subtract it first.
    select * into v_balances from copilot_internal.read_balances(v_periods.ids, v_now, v_service);
    select * into v_again from copilot_internal.decide_items(
      p_items, array(select case when g.granted is not null then v_wanted[g.n] end from unnest(v_granted) with ordinality g(granted, n) order by g.n),
      p_free, p_item_scopes, v_periods.first, v_periods.last, v_balances.limits, v_balances.spent,
      array(select b.reserved - b.delta from unnest(v_balances.reserved, v_deltas) with ordinality b(reserved, delta, n) order by b.n),
      v_balances.modes, p_in_order => true);
    perform copilot_internal.amend_reservations(p_items, v_granted, v_again.o_amounts, v_again.o_granted_units, v_now);
    select * into v_change from copilot_internal.change_balances(v_periods.ids, v_nothing,
      array(select f.final - f.first from unnest(
              copilot_internal.sum_by_balance(v_again.o_amounts, p_item_scopes, v_periods.first, v_periods.last), v_deltas) with ordinality f(final, first, n)
            order by f.n),
      'warned', v_now, p_distinct => true);
    for i in 1 .. cardinality(p_amounts) loop
      if v_granted[i] is not null then
        v_notes[i] := v_again.o_notes[i];
        v_units[i] := v_again.o_granted_units[i];
        v_granted[i] := v_again.o_amounts[i];
      end if;
    end loop;
  end if;

  if v_notes is not null then
    -- Emit events last. Once this transaction holds the key of an event, others may wait for that key, so this
    -- transaction must wait for nothing more. A quota that only warns is exceeded too, so it gets the same event as one
    -- that refuses.
    perform copilot_internal.emit_quota_events(noted.ids, true, v_now)
      from (
        select array_agg(v_periods.ids[(v.value ->> 0)::integer + 1]) as ids
        from (select distinct u.note from unnest(v_notes) u(note) where u.note is not null) n
        cross join lateral (select n.note::json as note) j
        cross join lateral json_array_elements(case json_typeof(j.note) when 'array' then j.note else j.note -> 'violations' end) v
      ) noted
      where noted.ids is not null;
  end if;

  if v_notes is not null or v_units is not null or cardinality(v_inserted) < cardinality(p_amounts) then
    v_outcomes := copilot_internal.reserve_outcomes(p_items, v_granted, v_units, v_notes);
    -- An item with no outcome was a repeat, and its reservation has just been deleted. Undo the whole batch. The
    -- service sends the batch again, and then every item is decided anew.
    if exists (select from json_array_elements(v_outcomes) o where json_typeof(o.value) = 'null') then
      raise exception 'a reservation was deleted while its request was repeated' using errcode = 'serialization_failure';
    end if;
  end if;
  return json_build_object(
    'now', v_now, 'contended', v_contended, 'ids', v_periods.ids, 'first', v_periods.first, 'last', v_periods.last, 'balances', v_change.balances,
    'outcomes', v_outcomes);
end $$;
comment on function copilot_internal.reserve_spend(copilot_internal.resource_type[], text[], text[], numeric[], integer[], copilot_internal.reserve_item[], text, boolean, text[], boolean[]) is 'Holds amounts in every quota that applies, all or none per item; answers per item.';
