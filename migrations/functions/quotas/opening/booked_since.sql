-- booked_since: what a scope (null: any) has booked in a period by records of p_since or later. These are the records
-- of a few seconds, so they are looked up by time, not by tenant.
create or replace function copilot_internal.booked_since(
  p_resource_type copilot_internal.resource_type, p_tenant_id text, p_user_id text, p_starts_at timestamptz,
  p_ends_at timestamptz, p_since timestamptz
)
returns numeric
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(sum(c.total_cost_usd), 0)
  from (
    select l.tenant_id, l.user_id, l.booked_at, l.total_cost_usd from copilot_internal.llm_cost_records l
    where p_resource_type = 'llm' and l.recorded_at >= p_since
    union all
    select l.tenant_id, l.user_id, l.booked_at, l.total_cost_usd from copilot_internal.e2b_cost_records l
    where p_resource_type = 'e2b' and l.recorded_at >= p_since
    offset 0
  ) c
  where c.booked_at >= p_starts_at and c.booked_at < p_ends_at
    and (p_tenant_id is null or c.tenant_id = p_tenant_id) and (p_user_id is null or c.user_id = p_user_id)
$$;
comment on function copilot_internal.booked_since(copilot_internal.resource_type, text, text, timestamptz, timestamptz, timestamptz) is 'What a scope has booked in a period by records of a moment or later.';
