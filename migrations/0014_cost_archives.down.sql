drop view copilot_internal.combined_cost_summary_by_tenant_daily;
drop view copilot_internal.combined_cost_summary_by_tenant;
drop view copilot_internal.cost_summary_by_model_daily;
drop view copilot_internal.cost_summary_by_model;
drop view copilot_internal.cost_summary_by_path_daily;
drop view copilot_internal.cost_summary_by_path;
drop view copilot_internal.cost_summary_by_conversation_daily;
drop view copilot_internal.cost_summary_by_conversation;
drop view copilot_internal.cost_summary_by_user_daily;
drop view copilot_internal.cost_summary_by_user;
drop view copilot_internal.cost_summary_by_tenant_daily;
drop view copilot_internal.cost_summary_by_tenant;
drop view copilot_internal.e2b_cost_summary_by_tier_daily;
drop view copilot_internal.e2b_cost_summary_by_tier;
drop view copilot_internal.e2b_cost_summary_by_path_daily;
drop view copilot_internal.e2b_cost_summary_by_path;
drop view copilot_internal.e2b_cost_summary_by_conversation_daily;
drop view copilot_internal.e2b_cost_summary_by_conversation;
drop view copilot_internal.e2b_cost_summary_by_user_daily;
drop view copilot_internal.e2b_cost_summary_by_user;
drop view copilot_internal.e2b_cost_summary_by_tenant_daily;
drop view copilot_internal.e2b_cost_summary_by_tenant;
drop view copilot_internal.rolled_costs;
-- squawk-ignore require-concurrent-index-deletion
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
