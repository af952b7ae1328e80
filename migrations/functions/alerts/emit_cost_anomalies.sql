-- emit_cost_anomalies: write cost.anomaly for tenants that spent far more in an hour than in the same hour of the 14
-- days before. Once per tenant and hour, with the evidence.
--
-- Far more means: at least 5 USD, at least three times the median of those hours, and at least 1.5 times the highest of
-- them. Hours before the tenant's first cost are left out. With fewer than seven hours nothing is emitted. Both
-- resource types are added up.
-- p_hour: the start of an hour of UTC that has ended. p_after: the tenant that the step before ended with, null at
-- first.
-- Bound: p_tenants_max tenants a call, in the order of their ids. Answers the last one, null where there are no more.
create or replace function copilot_internal.emit_cost_anomalies(p_hour timestamptz, p_after text, p_tenants_max integer)
returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := copilot_internal.clock_now();
  v_tenants text[];
begin
  select array_agg(t.tenant_id order by t.tenant_id) into v_tenants
  from (
    select distinct s.tenant_id from copilot_internal.scopes s
    where s.tenant_id > coalesce(p_after, '')
    order by s.tenant_id limit p_tenants_max
  ) t;

  insert into copilot_internal.quota_events (event_id, type, created_at, tenant_id, once_key, data)
  select copilot_internal.uuid_v7(v_now), 'cost.anomaly', v_now, h.tenant_id,
         to_char(p_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24"Z"') || ':' || h.tenant_id,
         jsonb_build_object(
           'hour_starts_at', p_hour, 'cost_usd', trim_scale(h.usd)::text, 'typical_usd', trim_scale(b.typical)::text,
           'highest_usd', trim_scale(b.highest)::text, 'days', b.days, 'same_hours', b.same_hours,
           'dearest', (
             select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                 'resource_type', d.resource_type, case d.resource_type when 'llm' then 'model' else 'tier' end, d.name,
                 'user_id', d.user_id, 'cost_usd', trim_scale(d.usd)::text))
               order by d.usd desc, d.name, d.user_id)
             from (
               select c.resource_type, c.name, c.user_id, sum(c.total_cost_usd) as usd
               from copilot_internal.tenant_costs(h.tenant_id, p_hour, p_hour + interval '1 hour') c
               group by c.resource_type, c.name, c.user_id
               order by usd desc limit 5
             ) d))
  from (
    select t.tenant_id, sum(c.total_cost_usd) as usd
    from unnest(v_tenants) t(tenant_id)
    cross join lateral copilot_internal.tenant_costs(t.tenant_id, p_hour, p_hour + interval '1 hour') c
    group by t.tenant_id
    having sum(c.total_cost_usd) >= 5
  ) h
  cross join lateral (
    select least(
      (select min(c.occurred_at) from copilot_internal.llm_cost_records c where c.tenant_id = h.tenant_id),
      (select min(c.occurred_at) from copilot_internal.e2b_cost_records c where c.tenant_id = h.tenant_id)) as first_at
  ) f
  cross join lateral (
    select count(*) as days, max(s.usd) as highest, percentile_disc(0.5) within group (order by s.usd) as typical,
           jsonb_agg(jsonb_build_object('starts_at', s.starts_at, 'cost_usd', trim_scale(s.usd)::text) order by s.starts_at) as same_hours
    from (
      select d.starts_at, coalesce((
        select sum(c.total_cost_usd)
        from copilot_internal.tenant_costs(h.tenant_id, d.starts_at, d.starts_at + interval '1 hour') c), 0) as usd
      from generate_series(1, 14) n(days)
      cross join lateral (select p_hour - n.days * interval '24 hours' as starts_at) d
      where d.starts_at + interval '1 hour' > f.first_at
    ) s
  ) b
  where b.days >= 7 and h.usd >= 3 * b.typical and h.usd >= 1.5 * b.highest
  order by h.tenant_id
  on conflict do nothing;

  return v_tenants[p_tenants_max];
end $$;
comment on function copilot_internal.emit_cost_anomalies(timestamptz, text, integer) is 'Writes cost.anomaly for tenants that spent far more in an hour than in the same hour of the days before.';
