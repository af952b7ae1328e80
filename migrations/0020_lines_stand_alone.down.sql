alter type copilot_internal.record_booking drop attribute priced_model;
alter type copilot_internal.settlement drop attribute priced_model;
drop table copilot_internal.line_facts_walk;
drop table copilot_internal.line_facts;
alter table copilot_internal.e2b_cost_records
  drop column priced_at, drop column reserved_usd, drop column estimate_reason;
alter table copilot_internal.llm_cost_records
  drop column priced_at, drop column priced_model, drop column reserved_usd, drop column estimate_reason;
drop type copilot_internal.estimate_reason;
