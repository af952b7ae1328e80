-- llm_costs_between: the sums of model calls in a span, of one tenant or (null) of all, by tenant, provider and model.
-- They come from rollups, the tail and, at the edges, records. Refused if the edges need records that are archived. A
-- span may have no start or no end (infinity).
create or replace function copilot_internal.llm_costs_between(p_tenant_id text, p_from timestamptz, p_to timestamptz)
returns table (tenant_id text, provider text, model text, requests bigint, tokens numeric, total_cost_usd numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  -- Infinity has no quarter hour. No cost lies beyond these moments.
  p_from := case p_from when '-infinity' then timestamptz '0001-01-01 00:00Z' else p_from end;
  p_to := case p_to when 'infinity' then timestamptz '10000-01-01 00:00Z' else p_to end;
  if exists (
    select from copilot_internal.cost_segments(p_from, p_to, 'month') s
    join copilot_internal.cost_archives a on s.starts_at <= a.last_occurred_at and s.ends_at > a.first_occurred_at
    where s.grain = 'record' and a.resource_type = 'llm' and a.state in ('archived', 'deleted')
  ) then
    raise exception 'records of that span are archived' using errcode = 'object_not_in_prerequisite_state',
      hint = 'Ask for whole quarter hours (UTC), or restore the records.';
  end if;
  return query
    with segments as (
      select * from copilot_internal.cost_segments(p_from, p_to, 'month')
    )
    select l.tenant_id, l.provider, l.model, sum(l.sign * l.records)::bigint, sum(l.sign * l.tokens), trim_scale(sum(l.sign * l.cost_usd))
    from (
      select s.sign, r.tenant_id, r.provider, r.model, r.records, r.input_tokens + r.output_tokens as tokens, r.cost_usd
      from segments s
      cross join lateral (
        select r.* from copilot_internal.cost_rollups r
        where r.grain = s.grain and r.starts_at >= s.starts_at and r.starts_at < s.ends_at and r.resource_type = 'llm'
          and (p_tenant_id is null or r.tenant_id = p_tenant_id)
        offset 0
      ) r
      union all
      select s.sign, t.tenant_id, t.provider, t.model, 1, coalesce(t.input_tokens, 0) + coalesce(t.output_tokens, 0), t.cost_usd
      from copilot_internal.cost_tail t
      join segments s on s.grain <> 'record' and t.occurred_at >= s.starts_at and t.occurred_at < s.ends_at
      where t.resource_type = 'llm' and (p_tenant_id is null or t.tenant_id = p_tenant_id)
      union all
      select s.sign, r.tenant_id, r.provider, r.model, 1, r.total_tokens, r.total_cost_usd
      from segments s
      cross join lateral (
        select r.* from copilot_internal.llm_cost_records r
        where s.grain = 'record' and r.occurred_at >= s.starts_at and r.occurred_at < s.ends_at
          and (p_tenant_id is null or r.tenant_id = p_tenant_id)
        offset 0
      ) r
    ) l
    group by l.tenant_id, l.provider, l.model
    -- A model whose lines were added and taken away again was not used.
    having sum(l.sign * l.records) <> 0;
end $$;
comment on function copilot_internal.llm_costs_between(text, timestamptz, timestamptz) is 'The sums of model calls in a span by tenant and model.';
