-- open_balance: open the running balance of a quota. It starts with what its scope has booked in the period
-- (opening_usd) and adopts the open holds of its scope, which name the new balance from now on (rule 7). The caller
-- holds lock (0) exclusively, so no money is in flight. p_booked: what booked_before() answered for this quota and
-- period; what was recorded since is added.
-- A record may be booked some minutes ahead. So each following period that has bookings is opened too, by the same rule
-- but without open holds: a hold counts in the periods in which it was granted.
create or replace function copilot_internal.open_balance(
  p_quota copilot_internal.cost_quotas, p_now timestamptz, p_booked json
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz := p_now;
  v_bounds record;
  v_opening numeric;
  v_reserved numeric;
  v_holds uuid[];
  v_id bigint;
begin
  while v_at is not null loop
    select * into v_bounds
      from copilot_internal.period_bounds(p_quota.period, p_quota.time_zone, p_quota.week_starts_on, p_quota.billing_day, v_at);
    if (p_booked ->> 'starts_at')::timestamptz = v_bounds.starts_at then
      v_opening := (p_booked ->> 'usd')::numeric + copilot_internal.booked_since(
        p_quota.resource_type, p_quota.tenant_id, p_quota.user_id, v_bounds.starts_at, v_bounds.ends_at,
        (p_booked ->> 'before')::timestamptz);
    else
      v_opening := copilot_internal.opening_costs(
        p_quota.resource_type, p_quota.tenant_id, p_quota.user_id, p_quota.period, v_bounds.starts_at, v_bounds.ends_at, 'infinity');
    end if;
    insert into copilot_internal.quota_periods (
      quota_id, resource_type, scope, tenant_id, user_id, period, starts_at, ends_at, spent, opening_usd,
      limit_usd, raise_limit_usd, raise_until, enforcement, opened_at)
    values (p_quota.quota_id, p_quota.resource_type, p_quota.scope, p_quota.tenant_id, p_quota.user_id, p_quota.period,
      v_bounds.starts_at, v_bounds.ends_at, v_opening, v_opening,
      p_quota.limit_usd, p_quota.raise_limit_usd, p_quota.raise_until, p_quota.enforcement, p_now)
    returning quota_period_id into v_id;
    v_holds := case
      when v_at > p_now then '{}'
      when p_quota.tenant_id is null
      then array(
        select r.reservation_id from copilot_internal.reservations r
        where r.status = 'reserved' and r.resource_type = p_quota.resource_type)
      -- A statement of its own, so that an index finds the tenant's holds.
      else array(
        select r.reservation_id from copilot_internal.reservations r
        where r.tenant_id = p_quota.tenant_id and r.status = 'reserved' and r.resource_type = p_quota.resource_type
          and (p_quota.user_id is null or r.user_id = p_quota.user_id))
      end;
    with adopted as (
      update copilot_internal.reservations r
      set quota_period_ids = r.quota_period_ids || v_id, periods_end_at = least(r.periods_end_at, v_bounds.ends_at)
      where r.reservation_id = any (v_holds)
      returning r.reserved_usd
    )
    select coalesce(sum(a.reserved_usd), 0) into v_reserved from adopted a;
    update copilot_internal.quota_periods p
      set reserved = v_reserved,
          over_cause = case
            when p.spent + v_reserved > copilot_internal.running_limit(p.limit_usd, p.raise_limit_usd, p.raise_until, p_now) then 'opening' end
      where p.quota_period_id = v_id;
    v_at := copilot_internal.next_booking(p_quota.resource_type, p_quota.tenant_id, p_quota.user_id, v_bounds.ends_at);
  end loop;
end $$;
comment on function copilot_internal.open_balance(copilot_internal.cost_quotas, timestamptz, json) is 'Opens the balances of a quota, from the running one on, with its scope''s booked costs and open holds.';
