-- open_balance: opens the running balance of a quota with what its scope has booked in the period (opening_usd), and adopts
-- the open holds of its scope: they name the new balance from now on (rule 7). The caller holds lock (0) exclusively, so
-- no money is in flight.
create or replace function copilot_internal.open_balance(p_quota copilot_internal.cost_quotas, p_now timestamptz)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bounds record;
  v_opening numeric;
  v_reserved numeric;
  v_id bigint;
begin
  select * into v_bounds
    from copilot_internal.period_bounds(p_quota.period, p_quota.time_zone, p_quota.week_starts_on, p_quota.billing_day, p_now);
  -- A record is booked at most five minutes ahead of its recording, so earlier partitions are left alone.
  if p_quota.resource_type = 'llm' then
    select coalesce(sum(c.total_cost_usd), 0) into v_opening from copilot_internal.llm_cost_records c
      where c.booked_at >= v_bounds.starts_at and c.booked_at < v_bounds.ends_at and c.recorded_at >= v_bounds.starts_at - interval '5 minutes'
        and (p_quota.tenant_id is null or c.tenant_id = p_quota.tenant_id) and (p_quota.user_id is null or c.user_id = p_quota.user_id);
  else
    select coalesce(sum(c.total_cost_usd), 0) into v_opening from copilot_internal.e2b_cost_records c
      where c.booked_at >= v_bounds.starts_at and c.booked_at < v_bounds.ends_at and c.recorded_at >= v_bounds.starts_at - interval '5 minutes'
        and (p_quota.tenant_id is null or c.tenant_id = p_quota.tenant_id) and (p_quota.user_id is null or c.user_id = p_quota.user_id);
  end if;
  if p_quota.period = 'total' then
    -- Every other period is younger than what is archived.
    v_opening := v_opening + (
      select coalesce(sum(c.cost_usd), 0)
      from copilot_internal.archived_costs c
      join copilot_internal.cost_archives a on a.partition = c.partition and a.state in ('archived', 'deleted')
      where c.counted and c.resource_type = p_quota.resource_type
        and (p_quota.tenant_id is null or c.tenant_id = p_quota.tenant_id) and (p_quota.user_id is null or c.user_id = p_quota.user_id));
  end if;
  insert into copilot_internal.quota_periods (
    quota_id, resource_type, scope, tenant_id, user_id, period, starts_at, ends_at, spent, opening_usd,
    limit_usd, raise_limit_usd, raise_until, enforcement, opened_at)
  values (p_quota.quota_id, p_quota.resource_type, p_quota.scope, p_quota.tenant_id, p_quota.user_id, p_quota.period,
    v_bounds.starts_at, v_bounds.ends_at, v_opening, v_opening,
    p_quota.limit_usd, p_quota.raise_limit_usd, p_quota.raise_until, p_quota.enforcement, p_now)
  returning quota_period_id into v_id;
  with adopted as (
    update copilot_internal.reservations r
    set quota_period_ids = r.quota_period_ids || v_id, periods_end_at = least(r.periods_end_at, v_bounds.ends_at)
    where r.status = 'reserved' and r.resource_type = p_quota.resource_type
      and (p_quota.tenant_id is null or r.tenant_id = p_quota.tenant_id) and (p_quota.user_id is null or r.user_id = p_quota.user_id)
    returning r.reserved_usd
  )
  select coalesce(sum(a.reserved_usd), 0) into v_reserved from adopted a;
  update copilot_internal.quota_periods p
    set reserved = v_reserved,
        over_cause = case
          when p.spent + v_reserved > case when p.raise_until > p_now then p.raise_limit_usd else p.limit_usd end then 'opening' end
    where p.quota_period_id = v_id;
end $$;
comment on function copilot_internal.open_balance(copilot_internal.cost_quotas, timestamptz) is 'Opens the running balance of a quota with its scope''s booked costs and open holds.';
