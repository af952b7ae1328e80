-- squawk-ignore require-concurrent-index-deletion -- within the runner's transaction
drop index copilot_internal.webhook_deliveries_due;
-- squawk-ignore require-concurrent-index-creation -- within the runner's transaction
create index webhook_deliveries_due on copilot_internal.webhook_deliveries (endpoint_id, next_attempt_at) where status = 'pending';
alter table copilot_internal.webhook_deliveries drop column priority;
drop table copilot_internal.missing_price_counts;
