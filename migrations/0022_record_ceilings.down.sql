drop table copilot_internal.record_days;
alter table copilot_internal.api_keys drop column max_record_usd_per_day;
