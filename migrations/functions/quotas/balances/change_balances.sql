-- change_balances: add to balances, each once, in id order. This is the only statement that changes spent and reserved
-- on the hot path. An id may come several times (its amounts are added up) or with nothing to add (then the balance is
-- read, not locked). A balance that does not exist is an error: money that is counted nowhere must not pass for
-- counted.
-- p_distinct: the caller promises that each id comes once and none is null, so that nothing has to be added up. A
-- broken promise that would lose an amount is an error too.
-- p_cause: stored as over_cause in a balance that rises above its limit. It is cleared when the balance falls back.
-- p_silent: the service only counts, so events are put off until it does not.
-- Answers two things. over: whether a changed balance whose quota is enforced or warns is above its limit now.
-- balances: the balances as they are now, as one object of parallel arrays. Their amounts are text, so that no client
-- turns them into floats, without trailing zeros. remaining_usd is what is left of the limit, not below 0.
-- A cost that raises spent to where an event is due writes the event. Holds alone write none.
--
-- The update follows the order of the sorted subquery only as long as the join is a nested loop: pin_plans() makes sure
-- of that.
create or replace function copilot_internal.change_balances(
  p_ids bigint[], p_spent numeric[], p_reserved numeric[], p_cause text, p_now timestamptz,
  p_silent boolean default false, p_distinct boolean default false, out over boolean, out balances json
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_due bigint[];
  v_missing boolean;
begin
  if not p_distinct then
    select array_agg(d.id), array_agg(d.spent), array_agg(d.reserved) into p_ids, p_spent, p_reserved
    from (
      select u.id, sum(u.spent) as spent, sum(u.reserved) as reserved
      from unnest(p_ids, p_spent, p_reserved) u(id, spent, reserved)
      where u.id is not null
      group by u.id
    ) d;
  end if;
  with delta as materialized (
    select u.id, u.spent, u.reserved from unnest(p_ids, p_spent, p_reserved) u(id, spent, reserved) order by u.id
  ),
  changed as (
    update copilot_internal.quota_periods p
    set spent = p.spent + d.spent,
        reserved = p.reserved + d.reserved,
        over_cause = case
          when p.spent + d.spent + p.reserved + d.reserved > copilot_internal.running_limit(p.limit_usd, p.raise_limit_usd, p.raise_until, p_now)
          then coalesce(p.over_cause, p_cause) end
    from delta d
    where p.quota_period_id = d.id and (d.spent <> 0 or d.reserved <> 0)
    -- Only the columns that are answered, because whole rows are expensive to pass on.
    returning p.quota_period_id, p.quota_id, p.scope, p.tenant_id, p.user_id, p.period, p.enforcement, p.spent, p.reserved,
              p.starts_at, p.ends_at, copilot_internal.running_limit(p.limit_usd, p.raise_limit_usd, p.raise_until, p_now) as running_limit_usd,
              p.over_cause is not null and p.enforcement <> 'off' as is_over,
              -- When a raise ends, thresholds move without a change of the row.
              d.spent > 0 and (p.spent >= p.next_event_usd or p.raise_until is not null) as is_due
  ),
  unchanged as (
    select p.quota_period_id, p.quota_id, p.scope, p.tenant_id, p.user_id, p.period, p.enforcement, p.spent, p.reserved,
           p.starts_at, p.ends_at, copilot_internal.running_limit(p.limit_usd, p.raise_limit_usd, p.raise_until, p_now), false, false
    from delta d
    cross join lateral (select p.* from copilot_internal.quota_periods p where p.quota_period_id = d.id offset 0) p
    where d.spent = 0 and d.reserved = 0
  )
  select bool_or(p.is_over),
         json_build_object(
           'quota_period_id', array_agg(p.quota_period_id), 'quota_id', array_agg(p.quota_id),
           'scope', array_agg(p.scope), 'tenant_id', array_agg(p.tenant_id), 'user_id', array_agg(p.user_id),
           'period', array_agg(p.period), 'enforcement', array_agg(p.enforcement),
           'limit_usd', array_agg(trim_scale(p.running_limit_usd)::text),
           'spent_usd', array_agg(trim_scale(p.spent)::text), 'reserved_usd', array_agg(trim_scale(p.reserved)::text),
           'remaining_usd', array_agg(trim_scale(greatest(p.running_limit_usd - p.spent - p.reserved, 0))::text),
           'starts_at', array_agg(p.starts_at), 'ends_at', array_agg(p.ends_at)),
         array_agg(p.quota_period_id) filter (where p.is_due),
         count(*) <> cardinality(p_ids)
    into over, balances, v_due, v_missing
    from (select * from changed union all select * from unchanged) p;
  if v_missing then
    -- The service takes an item with this error code out of its batch, so that the others can go on.
    raise exception 'a balance is not there, or comes twice: one of quota_periods %', array(select u.id from unnest(p_ids) u(id) order by u.id)
      using errcode = 'foreign_key_violation';
  end if;
  if v_due is not null and not p_silent then
    perform copilot_internal.emit_quota_events(v_due, false, p_now);
  end if;
end $$;
comment on function copilot_internal.change_balances(bigint[], numeric[], numeric[], text, timestamptz, boolean, boolean) is 'Adds to balances in id order, under a pinned plan; answers their new state.';
