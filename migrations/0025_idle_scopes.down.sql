-- squawk-ignore require-concurrent-index-deletion -- within the runner's transaction
drop index copilot_internal.quota_periods_of_quota;
alter table copilot_internal.scopes drop column look_up_at;
