-- What is not carried yet goes at once, as it did before.
update copilot_internal.quota_periods q
set archived_usd = q.archived_usd + u.cost_usd
from (
  select p.quota_period_id, sum(case when a.state in ('archived', 'deleted') then p.cost_usd else -p.cost_usd end) as cost_usd
  from copilot_internal.cost_archives a
  join copilot_internal.archived_periods p on p.partition = a.partition
  where (a.state in ('archived', 'deleted')) <> (p.quota_period_id <= a.carried_to)
  group by p.quota_period_id
) u
where q.quota_period_id = u.quota_period_id;
alter table copilot_internal.cost_archives drop column carried_to;
