-- uncarried_costs: what carry_archive() still has to add to archived_usd of each balance for months that have left the
-- database, or (negative) to take off for months that are back. Until it is done, I1 holds with these amounts added.
create or replace function copilot_internal.uncarried_costs()
returns table (quota_period_id bigint, cost_usd numeric)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p.quota_period_id, sum(case when g.gone then p.cost_usd else -p.cost_usd end)
  from copilot_internal.cost_archives a
  cross join lateral (select a.state in ('archived', 'deleted') as gone) g
  join copilot_internal.archived_periods p on p.partition = a.partition
  -- The first condition leaves out archives that are done, the second the balances that are done in the others.
  where a.carried_to <> case when g.gone then 9223372036854775807 else 0 end
    and g.gone <> (p.quota_period_id <= a.carried_to)
  group by p.quota_period_id
$$;
comment on function copilot_internal.uncarried_costs() is 'What is still to be added to archived_usd of each balance, or (negative) taken off, for archives that moved.';
