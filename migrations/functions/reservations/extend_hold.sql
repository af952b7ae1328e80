-- extend_hold: hold one reservation for longer, or for a larger total, or both. Nothing is ever lowered.
--
-- p_estimate: the new total by its name in the reservation's estimate, like { "max_output_tokens": 2500 }. p_amount:
-- what that total costs. Both are null if the amount stays. A total within the present one changes nothing, so a repeat
-- changes nothing.
-- p_ttl_seconds: from now on; null if expires_at stays. p_tenant_id: as in commit_item. p_service: the service's mode,
-- as in read_balances(). If one of the held periods has ended, the whole hold moves to the running ones (rule 3) or
-- stays as it was. A hold whose rate card is free is never refused.
-- Answers { "unknown": true } | { "closed": true }: settled, or past expires_at, swept or not
--   | { now, ids, balances, "extended": the reservation, "warned": [[balance, spent, reserved], ...] }
--   | { now, ids, balances, "refused": { "largest_allowed_usd", "violations": [[balance, spent, reserved], ...] } }
-- ids are the balances that hold it, or would. "balance" is a position in ids, from 0. The amounts are those of a
-- decision about the whole new total: reserved is what others hold, and largest_allowed_usd is the largest total that
-- fits. A closed balance goes on holding, but its limit no longer counts.
--
-- The caller holds the locks: (0), the running periods made, (1) the reservation, and (2) if money moves.
create or replace function copilot_internal.extend_hold(
  p_reservation_id uuid, p_tenant_id text, p_estimate jsonb, p_amount numeric, p_ttl_seconds integer, p_service integer,
  p_now timestamptz
)
returns json
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old copilot_internal.reservations;
  v_new copilot_internal.reservations;
  v_periods record;
  v_moves boolean;
  -- The new total, and the present one: the granted total, which may be less than what was asked for.
  v_measure text;
  v_total numeric;
  v_granted numeric;
  -- The balances that are to hold it, without closed ones.
  v_open bigint[];
  v_balances record;
  v_amount numeric;
  v_note json;
  v_change record;
begin
  select * into v_old from copilot_internal.reservations r where r.reservation_id = p_reservation_id;
  if v_old.reservation_id is null or v_old.tenant_id <> p_tenant_id then
    return json_build_object('unknown', true);
  end if;
  if v_old.status <> 'reserved' or v_old.expires_at <= p_now then
    return json_build_object('closed', true);
  end if;

  v_new := v_old;
  select e.key, e.value::numeric into v_measure, v_total from jsonb_each_text(p_estimate) e;
  v_granted := coalesce((select c.value::numeric from jsonb_each_text(v_old.caps) c), (v_old.estimate ->> v_measure)::numeric);
  if v_total > v_granted then
    v_new.reserved_usd := greatest(v_old.reserved_usd, p_amount);
    -- A cap grows with the total, up to what was asked for at first.
    if v_total < (v_old.estimate ->> v_measure)::numeric then
      v_new.caps := (select jsonb_build_object(c.key, floor(v_total)) from jsonb_each(v_old.caps) c);
    else
      v_new.caps := null;
      v_new.estimate := v_old.estimate || p_estimate;
    end if;
  end if;
  v_new.expires_at := greatest(v_old.expires_at, p_now + make_interval(secs => p_ttl_seconds));
  v_new.is_free := v_old.is_free and v_new.reserved_usd = 0;
  v_moves := v_old.periods_end_at <= p_now;
  if v_moves then
    select * into v_periods from copilot_internal.scope_periods(
      array_fill(v_old.resource_type, array[case when v_old.user_id is null then 2 else 3 end]),
      array_remove(array['', v_old.tenant_id, case when v_old.user_id is not null then v_old.tenant_id end], null),
      array_remove(array['', '', v_old.user_id], null), p_now);
    v_new.quota_period_ids := v_periods.ids;
    v_new.periods_end_at := (select min(u.at) from unnest(v_periods.until) u(at));
  end if;
  v_open := array(
    select u.id from unnest(v_new.quota_period_ids) with ordinality u(id, n)
    cross join lateral (select p.closed_at from copilot_internal.quota_periods p where p.quota_period_id = u.id offset 0) p
    where p.closed_at is null
    order by u.n);

  if v_moves or v_new.reserved_usd > v_old.reserved_usd then
    v_new.granted_at := p_now;
    select * into v_balances from copilot_internal.read_balances(v_open, p_now, p_service);
    -- Decide about the total beside what others hold. A balance to which nothing is added refuses nothing, even above
    -- its limit.
    select d.o_amounts[1], d.o_notes[1]::json into v_amount, v_note
      from (
        select array_agg(b.reserved - case when b.holds then v_old.reserved_usd else 0 end order by b.n) as reserved,
               array_agg(case when b.holds and v_new.reserved_usd = v_old.reserved_usd then 0 else b.mode end order by b.n) as modes
        from (
          select u.n, u.reserved, u.mode, u.id = any (v_old.quota_period_ids) as holds
          from unnest(v_open, v_balances.reserved, v_balances.modes) with ordinality u(id, reserved, mode, n)
        ) b
      ) b
      cross join lateral copilot_internal.decide_spend(
        array[v_new.reserved_usd], array[v_new.reserved_usd], array[0::numeric], array[v_new.is_free], array[1, 0, 0], array[1], array[cardinality(v_open)],
        v_balances.limits, v_balances.spent, b.reserved, b.modes, p_in_order => true) d;
    if v_amount is null then
      select * into v_change from copilot_internal.change_balances(
        v_open, array_fill(0::numeric, array[cardinality(v_open)]), array_fill(0::numeric, array[cardinality(v_open)]), 'warned', p_now);
      return json_build_object('now', p_now, 'ids', v_open, 'balances', v_change.balances, 'refused', v_note);
    end if;
  end if;

  select c.* into v_change
    from (
      select array_agg(u.id) as ids, array_agg(0::numeric) as nothing, array_agg(u.reserved) as reserved
      from (
        select o.id, -v_old.reserved_usd as reserved from unnest(v_old.quota_period_ids) o(id)
        union all
        select n.id, v_new.reserved_usd from unnest(v_new.quota_period_ids) n(id)
      ) u
    ) all_deltas
    cross join lateral copilot_internal.change_balances(all_deltas.ids, all_deltas.nothing, all_deltas.reserved, 'warned', p_now) c;
  if v_new is distinct from v_old then
    update copilot_internal.reservations r
      set reserved_usd = v_new.reserved_usd, is_free = v_new.is_free, estimate = v_new.estimate, caps = v_new.caps, granted_at = v_new.granted_at,
          expires_at = v_new.expires_at, quota_period_ids = v_new.quota_period_ids, periods_end_at = v_new.periods_end_at
      where r.reservation_id = v_new.reservation_id;
  end if;
  return json_build_object('now', p_now, 'ids', v_open, 'balances', v_change.balances,
    'extended', copilot_internal.reservation_json(v_new), 'warned', v_note);
end $$;
comment on function copilot_internal.extend_hold(uuid, text, jsonb, numeric, integer, integer, timestamptz) is 'Holds one locked reservation for longer or for a larger total, in the running periods.';
