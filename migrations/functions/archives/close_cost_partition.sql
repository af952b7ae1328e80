-- close_cost_partition: make a month of records read-only and store the sums of its lines for its archive. Answers true
-- if it is closed, now or before; false if there is no such partition. Reads the month's records. Only writers to this
-- month wait.
create or replace function copilot_internal.close_cost_partition(p_partition text)
returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_type copilot_internal.resource_type := split_part(p_partition, '_', 1);
  v_from timestamptz := to_timestamp(right(p_partition, 7), 'YYYY_MM');
  v_fields text := case split_part(p_partition, '_', 1)
    when 'llm' then 'provider, model, null::text as tier, input_tokens, output_tokens, null::numeric as seconds'
    else 'null::text as provider, null::text as model, tier, null::bigint as input_tokens, null::bigint as output_tokens, execution_time_seconds as seconds' end;
begin
  if to_regclass('copilot_partitions.' || quote_ident(p_partition)) is null then
    return false;
  end if;
  if v_from + interval '1 month' > copilot_internal.clock_now() then
    raise exception 'the month of % has not ended', p_partition using errcode = 'object_not_in_prerequisite_state';
  end if;
  perform pg_advisory_xact_lock(hashtext('copilot_internal.cost_archives'));
  if exists (select from copilot_internal.cost_archives a where a.partition = p_partition) then
    return true;
  end if;
  perform copilot_internal.guard_partition(p_partition);
  execute format($q$
    insert into copilot_internal.cost_archives (
      partition, resource_type, starts_at, ends_at, state, records, cost_usd, first_occurred_at, last_occurred_at, closed_at)
    select %L, %L, %L, %L, 'closed', count(*), coalesce(sum(total_cost_usd), 0), min(occurred_at), max(occurred_at), %L
    from copilot_partitions.%I$q$,
    p_partition, v_type, v_from, v_from + interval '1 month', copilot_internal.clock_now(), p_partition);
  execute format($q$
    insert into copilot_internal.archived_costs (
      partition, starts_at, resource_type, tenant_id, user_id, provider, model, tier, counted, records, cost_usd, input_tokens, output_tokens, seconds)
    select %1$L, copilot_internal.cost_grain_floor('month', c.occurred_at), %2$L, c.tenant_id, c.user_id, c.provider, c.model, c.tier,
           c.booked_at > '-infinity', count(*), sum(c.total_cost_usd), coalesce(sum(c.input_tokens), 0), coalesce(sum(c.output_tokens), 0),
           coalesce(sum(c.seconds), 0)
    from (select occurred_at, booked_at, tenant_id, user_id, total_cost_usd, %3$s from copilot_partitions.%1$I) c
    group by 2, c.tenant_id, c.user_id, c.provider, c.model, c.tier, 9$q$, p_partition, v_type, v_fields);
  execute format($q$
    insert into copilot_internal.archived_periods (partition, quota_period_id, cost_usd)
    select %1$L, p.id, sum(c.total_cost_usd) from copilot_partitions.%1$I c cross join lateral unnest(c.quota_period_ids) p(id)
    group by p.id$q$, p_partition);
  return true;
end $$;
comment on function copilot_internal.close_cost_partition(text) is 'Makes a past month of records read-only and stores its sums for its archive.';
