alter type copilot_internal.settlement drop attribute estimate_reason;
alter type copilot_internal.commit_item drop attribute unread_usage;
-- squawk-ignore ban-drop-column -- it goes with its release
alter table copilot_internal.llm_cost_records drop column unread_usage;
