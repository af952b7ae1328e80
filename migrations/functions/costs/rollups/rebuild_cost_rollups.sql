-- rebuild_cost_rollups: compute the rollups of the month (of UTC) that contains p_at again from its records, in one
-- statement. Answers how many records. Its lines leave the tail. Refused if records of the month are archived: they
-- have to be restored first.
-- Reads the month's records. Queries go on meanwhile; roll-ups wait.
create or replace function copilot_internal.rebuild_cost_rollups(p_at timestamptz)
returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_from timestamptz := copilot_internal.cost_grain_floor('month', p_at);
  v_to timestamptz := v_from + interval '1 month';
  v_records bigint;
begin
  perform pg_advisory_xact_lock(hashtext('copilot_internal.cost_rollups'));
  if exists (
    select from copilot_internal.cost_archives a
    where a.state in ('archived', 'deleted') and a.first_occurred_at < v_to and a.last_occurred_at >= v_from
  ) then
    raise exception 'records of that month are archived' using errcode = 'object_not_in_prerequisite_state', hint = 'Restore them first.';
  end if;
  delete from copilot_internal.cost_rollups r where r.starts_at >= v_from and r.starts_at < v_to;
  with taken as (
    delete from copilot_internal.cost_tail t where t.occurred_at >= v_from and t.occurred_at < v_to
  ),
  lines as (
    select 'llm'::copilot_internal.resource_type as resource_type, tenant_id, provider, model, null::text as tier, occurred_at,
           total_cost_usd, input_tokens, output_tokens, null::numeric as seconds
    from copilot_internal.llm_cost_records where occurred_at >= v_from and occurred_at < v_to
    union all
    select 'e2b', tenant_id, null, null, tier, occurred_at, total_cost_usd, null, null, execution_time_seconds
    from copilot_internal.e2b_cost_records where occurred_at >= v_from and occurred_at < v_to
  ),
  sums as (
    select g.grain, copilot_internal.cost_grain_floor(g.grain, l.occurred_at) as starts_at, l.resource_type, l.tenant_id, l.provider, l.model,
           l.tier, count(*) as records, sum(l.total_cost_usd) as cost_usd, coalesce(sum(l.input_tokens), 0) as input_tokens,
           coalesce(sum(l.output_tokens), 0) as output_tokens, coalesce(sum(l.seconds), 0) as seconds
    from lines l cross join unnest(array['quarter', 'day', 'month']) g(grain)
    group by 1, 2, l.resource_type, l.tenant_id, l.provider, l.model, l.tier
  ),
  made as (
    insert into copilot_internal.cost_rollups (
      grain, starts_at, resource_type, tenant_id, provider, model, tier, records, cost_usd, input_tokens, output_tokens, seconds)
    select s.grain, s.starts_at, s.resource_type, s.tenant_id, s.provider, s.model, s.tier, s.records, s.cost_usd, s.input_tokens, s.output_tokens, s.seconds
    from sums s
    returning grain, records
  )
  select coalesce(sum(m.records), 0) into v_records from made m where m.grain = 'month';
  return v_records;
end $$;
comment on function copilot_internal.rebuild_cost_rollups(timestamptz) is 'Computes the rollups of a month again from its records.';
