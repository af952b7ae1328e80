-- roll_up_costs: takes lines from the tail and adds them to the rollups, in one statement; answers how many lines.
-- Whoever reads tail and rollups in one statement sees each line once: in the one or in the other. A crash undoes both.
-- Several instances may call it at once: one works, the others find nothing to do and answer 0. So two never wait for each
-- other's rows; that no line counts twice does not hang on it, because what one has deleted another cannot.
-- Bound: p_lines_max lines a call.
create or replace function copilot_internal.roll_up_costs(p_lines_max integer default 50000)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_lines integer;
begin
  if not pg_try_advisory_xact_lock(hashtext('copilot_internal.cost_rollups')) then
    return 0;
  end if;
  with taken as (
    delete from copilot_internal.cost_tail t
    where t.ctid = any (array(select c.ctid from copilot_internal.cost_tail c limit p_lines_max))
    returning t.*
  ),
  quarters as (
    select copilot_internal.cost_grain_floor('quarter', t.occurred_at) as starts_at,
           t.resource_type, t.tenant_id, t.provider, t.model, t.tier, count(*) as records, sum(t.cost_usd) as cost_usd,
           coalesce(sum(t.input_tokens), 0) as input_tokens, coalesce(sum(t.output_tokens), 0) as output_tokens,
           coalesce(sum(t.seconds), 0) as seconds
    from taken t
    group by 1, t.resource_type, t.tenant_id, t.provider, t.model, t.tier
  ),
  sums as (
    select g.grain, copilot_internal.cost_grain_floor(g.grain, q.starts_at) as starts_at,
           q.resource_type, q.tenant_id, q.provider, q.model, q.tier, sum(q.records) as records, sum(q.cost_usd) as cost_usd,
           sum(q.input_tokens) as input_tokens, sum(q.output_tokens) as output_tokens, sum(q.seconds) as seconds
    from quarters q cross join unnest(array['quarter', 'day', 'month']) g(grain)
    group by 1, 2, q.resource_type, q.tenant_id, q.provider, q.model, q.tier
  ),
  added as (
    insert into copilot_internal.cost_rollups as r (
      grain, starts_at, key_hash, resource_type, tenant_id, provider, model, tier, records, cost_usd, input_tokens, output_tokens, seconds)
    select s.grain, s.starts_at, copilot_internal.cost_key_hash(s.resource_type, s.tenant_id, s.provider, s.model, s.tier),
           s.resource_type, s.tenant_id, s.provider, s.model, s.tier, s.records, s.cost_usd, s.input_tokens, s.output_tokens, s.seconds
    from sums s
    -- As the index and its readers go, so that rows of a time and tenant lie together.
    order by s.grain, s.starts_at, s.tenant_id
    on conflict (grain, starts_at, key_hash) do update
    set records = r.records + excluded.records, cost_usd = r.cost_usd + excluded.cost_usd,
        input_tokens = r.input_tokens + excluded.input_tokens, output_tokens = r.output_tokens + excluded.output_tokens,
        seconds = r.seconds + excluded.seconds
  )
  select count(*) into v_lines from taken;
  return v_lines;
end $$;
comment on function copilot_internal.roll_up_costs(integer) is 'Adds lines of the tail to the rollups; answers how many.';
