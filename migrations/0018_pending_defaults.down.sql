alter table copilot_internal.quota_defaults drop column pending;
