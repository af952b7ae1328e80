drop type copilot_internal.record_booking;
drop type copilot_internal.record_item;
comment on column copilot_internal.e2b_cost_records.booked_at is null;
comment on column copilot_internal.llm_cost_records.booked_at is null;
drop table copilot_internal.record_keys;
