-- roll_up_tail: move lines from the tail into the rollups, in one statement. Answers how many, and the block of the
-- tail in which the last one stood. A caller that goes on from that block does not read the dead rows of earlier calls
-- again; without vacuum that would be the whole tail each time.
-- A statement that reads tail and rollups sees each line once, in one of the two. A crash undoes both changes.
-- Several instances may call it at once: one works, the others answer 0. So two never wait for each other's rows. No
-- line can count twice even without this, because a deleted line cannot be deleted again.
-- Bound: p_lines_max lines a call.
create or replace function copilot_internal.roll_up_tail(
  p_lines_max integer, p_from_block bigint, out lines integer, out block bigint
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_from tid := format('(%s,0)', p_from_block);
  v_last tid;
begin
  lines := 0;
  block := p_from_block;
  if not pg_try_advisory_xact_lock(hashtext('copilot_internal.cost_rollups')) then
    return;
  end if;
  with taken as (
    delete from copilot_internal.cost_tail t
    where t.ctid = any (array(select c.ctid from copilot_internal.cost_tail c where c.ctid >= v_from limit p_lines_max))
    returning t.ctid as place, t.*
  ),
  quarters as (
    -- As cost_grain_floor(), without a call for each line.
    select 'quarter' as grain, date_bin(interval '15 minutes', t.occurred_at, timestamptz '4000-01-01 00:00:00+00 BC') as starts_at,
           t.resource_type, t.tenant_id, t.provider, t.model, t.tier, count(*) as records, sum(t.cost_usd) as cost_usd,
           coalesce(sum(t.input_tokens), 0) as input_tokens, coalesce(sum(t.output_tokens), 0) as output_tokens,
           coalesce(sum(t.seconds), 0) as seconds
    from taken t
    group by 2, t.resource_type, t.tenant_id, t.provider, t.model, t.tier
  ),
  days as (
    select 'day' as grain, date_trunc('day', q.starts_at, 'UTC') as starts_at, q.resource_type, q.tenant_id, q.provider, q.model, q.tier,
           sum(q.records) as records, sum(q.cost_usd) as cost_usd, sum(q.input_tokens) as input_tokens,
           sum(q.output_tokens) as output_tokens, sum(q.seconds) as seconds
    from quarters q
    group by 2, q.resource_type, q.tenant_id, q.provider, q.model, q.tier
  ),
  months as (
    select 'month' as grain, date_trunc('month', d.starts_at, 'UTC') as starts_at, d.resource_type, d.tenant_id, d.provider, d.model, d.tier,
           sum(d.records) as records, sum(d.cost_usd) as cost_usd, sum(d.input_tokens) as input_tokens,
           sum(d.output_tokens) as output_tokens, sum(d.seconds) as seconds
    from days d
    group by 2, d.resource_type, d.tenant_id, d.provider, d.model, d.tier
  ),
  added as (
    insert into copilot_internal.cost_rollups as r (
      grain, starts_at, resource_type, tenant_id, provider, model, tier, records, cost_usd, input_tokens, output_tokens, seconds)
    select * from (
      table quarters union all table days union all table months
    ) s
    -- In the order of the index, so that rows of one tenant and time lie together.
    order by s.grain, s.tenant_id, s.starts_at
    on conflict (tenant_id, grain, starts_at, resource_type, provider, model, tier) do update
    set records = r.records + excluded.records, cost_usd = r.cost_usd + excluded.cost_usd,
        input_tokens = r.input_tokens + excluded.input_tokens, output_tokens = r.output_tokens + excluded.output_tokens,
        seconds = r.seconds + excluded.seconds
  )
  select count(*), max(t.place) into lines, v_last from taken t;
  if lines > 0 then
    block := split_part(trim('()' from v_last::text), ',', 1);
  end if;
end $$;
comment on function copilot_internal.roll_up_tail(integer, bigint) is 'Moves lines of the tail, from a block on, into the rollups; answers how many, and the block of the last one.';
