-- quota_report: what each quota would have refused between two moments if it had been enforced. For a roll-out that
-- warns first.
-- The reservations and direct records that were booked in a balance are taken one after the other, in the order in
-- which they were granted. One that does not fit into what the earlier ones left would have been refused (rule 2: spent
-- + amount <= limit), and a refused one spends nothing. A direct record is never refused. Holds that were open at the
-- same moment are not counted, so of simultaneous calls a few more may be refused. The limit is today's for the running
-- period, and the last one of a past period.
-- Answers a row for each balance of a period that overlaps [p_from, p_to) in which something would have been refused.
-- Reads every record once: for an operator, not for the hot path.
create or replace function copilot_internal.quota_report(p_from timestamptz, p_to timestamptz)
returns table (
  quota_id bigint, resource_type text, scope text, tenant_id text, user_id text, period text, enforcement text,
  period_starts_at timestamptz, period_ends_at timestamptz, limit_usd numeric, spent_usd numeric, calls bigint,
  refused_calls bigint, refused_usd numeric, first_refused_at timestamptz
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_line record;
  v_balance bigint;
  v_left numeric;
begin
  for v_line in
    with lines as (
      select l.reservation_id, l.cost_record_id, l.total_cost_usd, l.booked_at, l.quota_period_ids from copilot_internal.llm_cost_records l
      union all
      select l.reservation_id, l.cost_record_id, l.total_cost_usd, l.booked_at, l.quota_period_ids from copilot_internal.e2b_cost_records l
    ),
    -- The lines of one reservation are one call, because corrections belong to what they correct.
    calls as (
      select p.id as quota_period_id, coalesce(l.reservation_id, l.cost_record_id) as call_id,
             bool_or(l.reservation_id is not null) as decided, sum(l.total_cost_usd) as cost_usd, min(l.booked_at) as booked_at
      from lines l cross join lateral unnest(l.quota_period_ids) p(id)
      group by p.id, coalesce(l.reservation_id, l.cost_record_id)
    )
    select p.*, c.call_id, c.decided, c.cost_usd, c.booked_at, coalesce(r.reserved_usd, c.cost_usd) as asked_usd,
           case when p.raise_until >= least(p.ends_at, p_to) then p.raise_limit_usd else p.limit_usd end as in_force_usd,
           -- The opening of the balance, and its archived costs (I1).
           p.spent - sum(c.cost_usd) over (partition by p.quota_period_id) as before_usd
    from copilot_internal.quota_periods p
    join calls c on c.quota_period_id = p.quota_period_id
    left join copilot_internal.reservations r on c.decided and r.reservation_id = c.call_id
    where p.closed_at is null and p.starts_at < p_to and p.ends_at > p_from and p.enforcement <> 'off'
    order by p.quota_id, p.starts_at, p.quota_period_id, c.booked_at, c.call_id
  loop
    if v_balance is distinct from v_line.quota_period_id then
      if refused_calls > 0 then
        return next;
      end if;
      v_balance := v_line.quota_period_id;
      quota_id := v_line.quota_id;
      resource_type := v_line.resource_type::text;
      scope := v_line.scope;
      tenant_id := v_line.tenant_id;
      user_id := v_line.user_id;
      period := v_line.period;
      enforcement := v_line.enforcement;
      period_starts_at := v_line.starts_at;
      period_ends_at := v_line.ends_at;
      limit_usd := v_line.in_force_usd;
      spent_usd := v_line.spent;
      v_left := limit_usd - v_line.before_usd;
      calls := 0;
      refused_calls := 0;
      refused_usd := 0;
      first_refused_at := null;
    end if;
    calls := calls + 1;
    if v_line.decided and v_line.asked_usd > v_left then
      refused_calls := refused_calls + 1;
      refused_usd := refused_usd + v_line.cost_usd;
      first_refused_at := coalesce(first_refused_at, v_line.booked_at);
    else
      v_left := v_left - v_line.cost_usd;
    end if;
  end loop;
  if refused_calls > 0 then
    return next;
  end if;
end $$;
comment on function copilot_internal.quota_report(timestamptz, timestamptz) is 'What each quota would have refused between two moments if it had been enforced.';
