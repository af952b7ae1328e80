-- change_balances: adds to balances, each once, in id order; the only statement that changes spent and reserved on the hot path.
-- Answers whether one that is enforced or warned of stands above its limit now.
-- p_cause: why, for a balance that comes to stand above its limit (over_cause); it is cleared when it falls back.
-- The update's order is the order of the sorted subquery only while the join is a nested loop, so that plan is pinned here:
-- with a hash join eight clients deadlocked nine times in six seconds.
create or replace function copilot_internal.change_balances(
  p_ids bigint[], p_spent numeric[], p_reserved numeric[], p_cause text, p_now timestamptz
)
returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  v_over boolean;
begin
  with changed as (
    update copilot_internal.quota_periods p
    set spent = p.spent + d.spent,
        reserved = p.reserved + d.reserved,
        over_cause = case
          when p.spent + d.spent + p.reserved + d.reserved > case when p.raise_until > p_now then p.raise_limit_usd else p.limit_usd end
          then coalesce(p.over_cause, p_cause) end
    from (
      select u.id, sum(u.spent) as spent, sum(u.reserved) as reserved
      from unnest(p_ids, p_spent, p_reserved) u(id, spent, reserved)
      group by u.id
      having sum(u.spent) <> 0 or sum(u.reserved) <> 0
      order by u.id
    ) d
    where p.quota_period_id = d.id
    returning p.over_cause is not null and p.enforcement <> 'off' as over
  )
  select coalesce(bool_or(over), false) into v_over from changed;
  return v_over;
end $$;
comment on function copilot_internal.change_balances(bigint[], numeric[], numeric[], text, timestamptz) is 'Adds to balances in id order, under a pinned plan.';
