-- booked_before: for each of these quotas, in the form of set_quotas(), what its balance opens with as far as it was
-- recorded before p_before, a booking_cutoff(): { before, starts_at, usd }, to be passed to set_quotas() as booked;
-- null if it opens none.
-- So the sum over a period's records, which may be millions, is computed while decisions go on.
-- Cost: reads the records of the scope's tenant in the period; for the platform, all of them.
create or replace function copilot_internal.booked_before(p_quotas json, p_before timestamptz)
returns json
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select json_agg(
    case when w.opens then json_build_object('before', p_before, 'starts_at', b.starts_at, 'usd', copilot_internal.opening_costs(
      w.resource_type, w.tenant_id, w.user_id, w.period, b.starts_at, b.ends_at, p_before)::text) end order by w.n)
  from copilot_internal.quota_inputs(p_quotas) w
  cross join lateral copilot_internal.period_bounds(w.period, w.time_zone, w.week_starts_on, w.billing_day, p_before) b
$$;
comment on function copilot_internal.booked_before(json, timestamptz) is 'What the balances of quotas open with, as far as it was recorded before a moment.';
