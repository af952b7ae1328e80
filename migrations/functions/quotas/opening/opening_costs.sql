-- opening_costs: what a balance of a scope (null: any) opens with, as far as it was recorded before p_before: the
-- records of its period, and for a total also the archived ones.
-- It reads one snapshot, in which a month's records are either in their table or archived. The statement over the
-- records is planned for the actual values: it reads those of one tenant, or all.
create or replace function copilot_internal.opening_costs(
  p_resource_type copilot_internal.resource_type, p_tenant_id text, p_user_id text, p_period text,
  p_starts_at timestamptz, p_ends_at timestamptz, p_before timestamptz
)
returns numeric
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_booked numeric;
begin
  execute format(
    'select coalesce(sum(c.total_cost_usd), 0) from copilot_internal.%I c
     where c.booked_at >= $1 and c.booked_at < $2 and c.recorded_at >= $3 and c.recorded_at < $4
       and ($5 is null or c.tenant_id = $5) and ($6 is null or c.user_id = $6)', p_resource_type || '_cost_records')
    into v_booked
    -- A record is booked at most five minutes ahead of its recording, so earlier partitions are not read.
    using p_starts_at, p_ends_at, p_starts_at - interval '5 minutes', p_before, p_tenant_id, p_user_id;
  -- Every other period is younger than the archives.
  return v_booked + case when p_period = 'total' then (
    select coalesce(sum(c.cost_usd), 0)
    from copilot_internal.archived_costs c
    join copilot_internal.cost_archives a on a.partition = c.partition and a.state in ('archived', 'deleted')
    where c.counted and c.resource_type = p_resource_type
      and (p_tenant_id is null or c.tenant_id = p_tenant_id) and (p_user_id is null or c.user_id = p_user_id)) else 0 end;
end $$;
comment on function copilot_internal.opening_costs(copilot_internal.resource_type, text, text, text, timestamptz, timestamptz, timestamptz) is 'What a balance opens with, as far as it was recorded before a moment.';
