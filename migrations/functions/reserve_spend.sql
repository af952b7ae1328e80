-- reserve_spend: hold each item's amount in every quota that applies, all or none per item, as if the items came in order.
--
-- p_scopes: the distinct scopes of the batch, [[resource_type, tenant_id, user_id], ...], '' for none. p_items: an array of
-- reserve_item. p_enforcement: the service's; the weaker of it and the quota's applies.
-- Answers { now, ids, first, last, balances, outcomes }: balances as change_balances() answers them; those of scope s are
-- ids[first[s]] to ids[last[s]], from 1, null for none; outcomes[i] is one of
--   { "granted": amount, "units": those granted where it is less than asked, "warned": [[balance, spent, reserved], ...] }
--   { "refused": { "largest_allowed_usd", "violations": [[balance, spent, reserved], ...] } }
--   { "replayed": the stored reservation } | { "mismatch": true }
-- with "balance" a position in ids from 0. Denials are answers, not exceptions. Bound: 500 items a call.
--
-- Locks: (0) shared advisory, then missing quotas, periods and scopes in natural-key order -> (1) the new reservations by
-- their keys -> (2) quota_periods by id. The reservations are inserted before the hot balances are locked, so that these are
-- locked for the shortest time; a late refusal deletes its insert.
create or replace function copilot_internal.reserve_spend(p_scopes json, p_items json, p_enforcement text default 'enforce')
returns json
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
-- Plans must not hang on statistics: nested loops over index look-ups only, also on an empty or un-analysed table. A hash
-- join in the update would lock balances in no order, and two batches would deadlock.
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
as $$
declare
  v_now timestamptz;
  v_service integer := array_position(array['off', 'warn', 'enforce'], p_enforcement) - 1;
  v_items copilot_internal.reserve_item[];
  v_types copilot_internal.resource_type[];
  v_tenants text[];
  v_users text[];
  v_balances record;
  -- By item: what it wants, and what it gets; null where it is refused or a repeat.
  v_amounts numeric[];
  v_granted numeric[];
  v_fixed numeric[];
  v_per_unit numeric[];
  v_item_scopes integer[];
  v_units numeric[];
  v_notes text[];
  v_inserted uuid[];
  -- By balance.
  v_deltas numeric[];
  v_nothing numeric[];
  v_change record;
  v_locked record;
  v_again record;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'reserve_spend() runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
  end if;
  if v_service is null then
    raise exception 'enforcement % is not one of enforce, warn, off', p_enforcement using errcode = 'invalid_parameter_value';
  end if;
  if json_array_length(p_items) not between 1 and 500 then
    raise exception 'a batch has 1 to 500 items' using errcode = 'program_limit_exceeded';
  end if;
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  v_now := copilot_internal.clock_now();

  v_items := array(select i from json_populate_recordset(null::copilot_internal.reserve_item, p_items) i);
  select array_agg(i.amount_usd), array_agg(i.fixed_usd), array_agg(i.per_unit_usd)
    into v_amounts, v_fixed, v_per_unit
    from unnest(v_items) i;
  v_item_scopes := array(select unnest(i.scopes) from unnest(v_items) i);
  select array_agg((s ->> 0)::copilot_internal.resource_type), array_agg(s ->> 1), array_agg(s ->> 2) into v_types, v_tenants, v_users
    from json_array_elements(p_scopes) s;
  select * into v_balances from copilot_internal.scope_balances(v_types, v_tenants, v_users, v_now, v_service);

  -- First opinion, from the look-up: where everything fits together, no item needs a look of its own.
  v_granted := v_amounts;
  v_deltas := copilot_internal.sum_by_balance(v_granted, v_item_scopes, v_balances.first, v_balances.last);
  if exists (
    select from unnest(v_deltas, v_balances.limits, v_balances.spent, v_balances.reserved, v_balances.modes) b(delta, limit_usd, spent, reserved, mode)
    where b.mode > 0 and b.spent + b.reserved + b.delta > b.limit_usd
  ) then
    -- Something binds. Repeats are taken out first: a repeat is neither refused nor does it use up room.
    v_amounts := array(
      select case when i.repeated then null else i.amount_usd end
      from (
        select i.ordinality, i.amount_usd,
               (i.idempotency_key is not null
                and row_number() over (partition by i.principal, i.idempotency_key order by i.ordinality) > 1)
               or exists (select from copilot_internal.reservations r where r.reservation_id = i.reservation_id)
               or exists (select from copilot_internal.reservations r where r.principal = i.principal and r.idempotency_key = i.idempotency_key)
               as repeated
        from unnest(v_items) with ordinality i
      ) i
      order by i.ordinality);
    select d.o_amounts, d.o_granted_units, d.o_notes into v_granted, v_units, v_notes
      from copilot_internal.decide_spend(v_amounts, v_fixed, v_per_unit, v_item_scopes,
        v_balances.first, v_balances.last, v_balances.limits, v_balances.spent, v_balances.reserved, v_balances.modes) d;
  end if;

  -- Whoever has the same key or id was here first: a key in flight elsewhere makes this wait, and then do nothing.
  with inserted as (
    insert into copilot_internal.reservations (
      reservation_id, resource_type, tenant_id, user_id, conversation_id, path_id, labels, principal, idempotency_key, request_hash,
      provider, model, service_tier, region, tier, vcpu, memory_mib, estimate, price_id, reserved_usd, caps, on_expiry,
      created_at, granted_at, expires_at, quota_period_ids, periods_end_at)
    select i.reservation_id, i.resource_type, i.tenant_id, i.user_id, i.conversation_id, i.path_id, i.labels,
           i.principal, i.idempotency_key, i.request_hash,
           i.provider, i.model, i.service_tier, i.region, i.tier, i.vcpu, i.memory_mib, i.estimate, i.price_id, v_granted[i.ordinality],
           case when v_units[i.ordinality] is not null then jsonb_build_object(i.caps_name, v_units[i.ordinality]) end,
           i.on_expiry, v_now, v_now, v_now + make_interval(secs => coalesce(i.ttl_beyond_units + v_units[i.ordinality]::integer, i.ttl_seconds)),
           array_remove(
             v_balances.ids[v_balances.first[i.scopes[1]]:v_balances.last[i.scopes[1]]]
               || v_balances.ids[v_balances.first[i.scopes[2]]:v_balances.last[i.scopes[2]]]
               || v_balances.ids[v_balances.first[i.scopes[3]]:v_balances.last[i.scopes[3]]], null),
           least(v_balances.until[i.scopes[1]], v_balances.until[i.scopes[2]], v_balances.until[i.scopes[3]])
    from unnest(v_items) with ordinality i
    where v_granted[i.ordinality] is not null
    order by i.principal, i.idempotency_key, i.reservation_id
    on conflict do nothing
    returning reservation_id
  )
  select coalesce(array_agg(reservation_id), '{}') into v_inserted from inserted;
  if cardinality(v_inserted) < cardinality(v_items) then
    v_granted := array(
      select case when i.reservation_id = any (v_inserted) then v_granted[i.ordinality] end
      from unnest(v_items) with ordinality i order by i.ordinality);
    v_deltas := copilot_internal.sum_by_balance(v_granted, v_item_scopes, v_balances.first, v_balances.last);
  end if;

  v_nothing := array_fill(0::numeric, array[cardinality(v_deltas)]);
  select * into v_change from copilot_internal.change_balances(v_balances.ids, v_nothing, v_deltas, 'warned', v_now);
  if v_change.over then
    -- Somebody else took the room between look-up and lock, or a warning is due. The balances are locked now: decide again.
    select * into v_locked from copilot_internal.scope_balances(v_types, v_tenants, v_users, v_now, v_service);
    select * into v_again from copilot_internal.decide_spend(
      array(select case when v_granted[i.n] is not null then v_amounts[i.n] end from generate_subscripts(v_granted, 1) i(n) order by i.n),
      v_fixed, v_per_unit, v_item_scopes, v_locked.first, v_locked.last, v_locked.limits, v_locked.spent,
      array(select b.reserved - b.delta from unnest(v_locked.reserved, v_deltas) with ordinality b(reserved, delta, n) order by b.n), v_locked.modes);
    delete from copilot_internal.reservations r
      using unnest(v_items) with ordinality i
      where r.reservation_id = i.reservation_id and v_granted[i.ordinality] is not null and v_again.o_amounts[i.ordinality] is null;
    update copilot_internal.reservations r
      set reserved_usd = v_again.o_amounts[i.ordinality],
          caps = jsonb_build_object(i.caps_name, v_again.o_granted_units[i.ordinality]),
          expires_at = v_now + make_interval(secs => coalesce(i.ttl_beyond_units + v_again.o_granted_units[i.ordinality]::integer, i.ttl_seconds))
      from unnest(v_items) with ordinality i
      where r.reservation_id = i.reservation_id and v_again.o_amounts[i.ordinality] <> v_granted[i.ordinality];
    select * into v_change from copilot_internal.change_balances(v_balances.ids, v_nothing,
      array(select f.final - f.first from unnest(
              copilot_internal.sum_by_balance(v_again.o_amounts, v_item_scopes, v_locked.first, v_locked.last), v_deltas) with ordinality f(final, first, n)
            order by f.n),
      'warned', v_now);
    for i in 1 .. cardinality(v_items) loop
      if v_granted[i] is not null then
        v_notes[i] := v_again.o_notes[i];
        v_units[i] := v_again.o_granted_units[i];
        v_granted[i] := v_again.o_amounts[i];
      end if;
    end loop;
  end if;

  return json_build_object(
    'now', v_now, 'ids', v_balances.ids, 'first', v_balances.first, 'last', v_balances.last, 'balances', v_change.balances,
    'outcomes', (
      select json_agg(case
          when v_granted[i.ordinality] is not null then json_build_object(
            'granted', v_granted[i.ordinality]::text, 'units', v_units[i.ordinality], 'warned', v_notes[i.ordinality]::json)
          when v_notes[i.ordinality] is not null then json_build_object('refused', v_notes[i.ordinality]::json)
          -- A repeat: of a stored one, or of one that this very batch has refused.
          else coalesce(
            (select case when r.request_hash = i.request_hash then json_build_object('replayed', copilot_internal.reservation_json(r)) else json_build_object('mismatch', true) end
             from copilot_internal.reservations r
             where r.principal = i.principal and r.idempotency_key = i.idempotency_key),
            (select json_build_object('replayed', copilot_internal.reservation_json(r))
             from copilot_internal.reservations r where r.reservation_id = i.reservation_id),
            (select json_build_object('refused', v_notes[f.ordinality]::json)
             from unnest(v_items) with ordinality f
             where f.principal = i.principal and f.idempotency_key = i.idempotency_key and v_notes[f.ordinality] is not null
             order by f.ordinality limit 1))
        end order by i.ordinality)
      from unnest(v_items) with ordinality i));
end $$;
comment on function copilot_internal.reserve_spend(json, json, text) is 'Holds amounts in every quota that applies, all or none per item; answers per item.';
