-- Within the runner's transaction; partitioned indexes cannot go concurrently.
-- squawk-ignore require-concurrent-index-deletion
drop index copilot_internal.e2b_cost_records_recorded;
-- squawk-ignore require-concurrent-index-deletion
drop index copilot_internal.e2b_cost_records_occurred;
-- squawk-ignore require-concurrent-index-deletion
drop index copilot_internal.llm_cost_records_recorded;
-- squawk-ignore require-concurrent-index-deletion
drop index copilot_internal.llm_cost_records_occurred;
drop trigger e2b_cost_records_tail on copilot_internal.e2b_cost_records;
drop trigger llm_cost_records_tail on copilot_internal.llm_cost_records;
drop function if exists copilot_internal.append_cost_tail();
drop table copilot_internal.cost_rollups;
drop table copilot_internal.cost_tail;
