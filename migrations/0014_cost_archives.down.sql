drop index copilot_internal.record_keys_recorded;
-- What is archived is in its files only: going down would lose sight of them.
do $$
begin
  if exists (select from copilot_internal.cost_archives where state in ('archived', 'deleted')) then
    raise exception 'months of records are archived: restore them first (npm run costs -- restore)';
  end if;
end $$;
drop function if exists copilot_internal.guard_closed_partition() cascade;
drop table copilot_internal.archived_periods;
drop table copilot_internal.archived_costs;
drop table copilot_internal.cost_archives;
