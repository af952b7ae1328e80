-- rollup_integrity: invariant I7: the rollups that are not the sum of the records; no row means healthy. Lines of the
-- tail are not rolled up yet, and archived lines are known by month only. Reads every record and every rollup.
create or replace function copilot_internal.rollup_integrity()
returns table (invariant text, subject text, detail text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with records as (
    select 'llm'::copilot_internal.resource_type as resource_type, tenant_id, provider, model, null::text as tier,
           copilot_internal.cost_grain_floor('quarter', occurred_at) as quarter, count(*) as records, sum(total_cost_usd) as cost_usd,
           sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens, null::numeric as seconds
    from copilot_internal.llm_cost_records group by tenant_id, provider, model, 6
    union all
    select 'e2b', tenant_id, null, null, tier, copilot_internal.cost_grain_floor('quarter', occurred_at), count(*), sum(total_cost_usd),
           null, null, sum(execution_time_seconds)
    from copilot_internal.e2b_cost_records group by tenant_id, tier, 6
  ),
  archived as (
    select c.* from copilot_internal.archived_costs c
    join copilot_internal.cost_archives a on a.partition = c.partition and a.state in ('archived', 'deleted')
  ),
  -- Few enough for a hash. With "not in (select … from archived)", once archived had outgrown the memory of a hash, all
  -- of it was read for each quarter: a minute for 3,000 quarters and 300,000 rows.
  archived_months as (
    select distinct starts_at from archived
  ),
  rolled as (
    select r.grain, r.starts_at, r.resource_type, r.tenant_id, r.provider, r.model, r.tier,
           r.records, r.cost_usd, r.input_tokens, r.output_tokens, r.seconds
    from copilot_internal.cost_rollups r
  ),
  tail as (
    select t.*, 1 as records from copilot_internal.cost_tail t
  ),
  -- Rolled-up sums are added and the sums that they should be are subtracted, so that 0 is right.
  compared as (
    select 'month' as grain, starts_at, resource_type, tenant_id, provider, model, tier, records, cost_usd, input_tokens, output_tokens, seconds
    from rolled where grain = 'month'
    union all
    select 'month', copilot_internal.cost_grain_floor('month', occurred_at), resource_type, tenant_id, provider, model, tier,
           records, cost_usd, input_tokens, output_tokens, seconds
    from tail
    union all
    select 'month', copilot_internal.cost_grain_floor('month', quarter), resource_type, tenant_id, provider, model, tier,
           -records, -cost_usd, -input_tokens, -output_tokens, -seconds
    from records
    union all
    select 'month', starts_at, resource_type, tenant_id, provider, model, tier, -records, -cost_usd, -input_tokens, -output_tokens, -seconds
    from archived
    union all
    -- Each quarter hour of the months of which nothing is archived.
    select 'quarter', q.starts_at, q.resource_type, q.tenant_id, q.provider, q.model, q.tier,
           q.records, q.cost_usd, q.input_tokens, q.output_tokens, q.seconds
    from (
      select starts_at, resource_type, tenant_id, provider, model, tier, records, cost_usd, input_tokens, output_tokens, seconds
      from rolled where grain = 'quarter'
      union all
      select copilot_internal.cost_grain_floor('quarter', occurred_at), resource_type, tenant_id, provider, model, tier,
             records, cost_usd, input_tokens, output_tokens, seconds
      from tail
      union all
      select quarter, resource_type, tenant_id, provider, model, tier, -records, -cost_usd, -input_tokens, -output_tokens, -seconds
      from records
    ) q
    where not exists (select from archived_months m where m.starts_at = copilot_internal.cost_grain_floor('month', q.starts_at))
    union all
    -- A day is the sum of its quarters, a month the sum of its days.
    select 'day', case grain when 'day' then starts_at else copilot_internal.cost_grain_floor('day', starts_at) end,
           resource_type, tenant_id, provider, model, tier, s.sign * records, s.sign * cost_usd, s.sign * input_tokens,
           s.sign * output_tokens, s.sign * seconds
    from rolled cross join lateral (select case grain when 'day' then 1 else -1 end as sign) s
    where grain in ('day', 'quarter')
    union all
    select 'month of days', case grain when 'month' then starts_at else copilot_internal.cost_grain_floor('month', starts_at) end,
           resource_type, tenant_id, provider, model, tier, s.sign * records, s.sign * cost_usd, s.sign * input_tokens,
           s.sign * output_tokens, s.sign * seconds
    from rolled cross join lateral (select case grain when 'month' then 1 else -1 end as sign) s
    where grain in ('month', 'day')
  )
  select 'I7', format('rollup %s %s of %s %s', grain, to_char(starts_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'), resource_type, tenant_id),
         format('%s has %s records and %s USD more than its lines', coalesce(model, tier, 'no model'), sum(records), sum(cost_usd))
  from compared
  group by grain, starts_at, resource_type, tenant_id, provider, model, tier
  having sum(records) <> 0 or sum(cost_usd) <> 0 or coalesce(sum(input_tokens), 0) <> 0 or coalesce(sum(output_tokens), 0) <> 0
    or coalesce(sum(seconds), 0) <> 0
$$;
comment on function copilot_internal.rollup_integrity() is 'The rollups that are not the sum of the records (I7); no row means healthy.';
