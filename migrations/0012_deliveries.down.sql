alter table copilot_internal.quota_events drop column endpoint_ids;
drop table copilot_internal.webhook_deliveries;
drop table copilot_internal.webhook_secrets;
drop table copilot_internal.webhook_endpoints;
