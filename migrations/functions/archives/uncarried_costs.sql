-- uncarried_costs: what archived_usd of each balance still lacks of months that have left the database, or has too much of
-- months that are back (negative then): between the two, I1 holds with it. carry_archive() brings it to nothing.
create or replace function copilot_internal.uncarried_costs()
returns table (quota_period_id bigint, cost_usd numeric)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p.quota_period_id, sum(case when g.gone then p.cost_usd else -p.cost_usd end)
  from copilot_internal.cost_archives a
  cross join lateral (select a.state in ('archived', 'deleted') as gone) g
  join copilot_internal.archived_periods p on p.partition = a.partition
  -- The first line leaves out archives that are whole, the second the balances of the others that are.
  where a.carried_to <> case when g.gone then 9223372036854775807 else 0 end
    and g.gone <> (p.quota_period_id <= a.carried_to)
  group by p.quota_period_id
$$;
comment on function copilot_internal.uncarried_costs() is 'What archived_usd of each balance still lacks, or has too much, of archives.';
