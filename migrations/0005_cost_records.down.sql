drop table copilot_internal.record_corrections;
drop table copilot_internal.e2b_cost_records;
drop table copilot_internal.llm_cost_records;
