-- tenant_costs: the lines of a tenant's cost that occurred in [p_from, p_until), of both resource types, with the model
-- or the tier. Corrections are among them, so the sums are right.
-- A line is recorded when it occurs, later, or at most five minutes before. So earlier partitions are not read.
create or replace function copilot_internal.tenant_costs(p_tenant_id text, p_from timestamptz, p_until timestamptz)
returns table (resource_type text, name text, user_id text, total_cost_usd numeric)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'llm', c.provider || ' ' || c.model, c.user_id, c.total_cost_usd
  from copilot_internal.llm_cost_records c
  where c.tenant_id = p_tenant_id and c.occurred_at >= p_from and c.occurred_at < p_until
    and c.recorded_at >= p_from - interval '5 minutes'
  union all
  select 'e2b', c.tier, c.user_id, c.total_cost_usd
  from copilot_internal.e2b_cost_records c
  where c.tenant_id = p_tenant_id and c.occurred_at >= p_from and c.occurred_at < p_until
    and c.recorded_at >= p_from - interval '5 minutes'
$$;
comment on function copilot_internal.tenant_costs(text, timestamptz, timestamptz) is 'The lines of a tenant''s cost that occurred within a span of time.';
