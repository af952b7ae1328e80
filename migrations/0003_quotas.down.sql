drop view copilot_internal.cost_quota_status;
drop table copilot_internal.scopes;
drop table copilot_internal.quota_defaults;
drop table copilot_internal.quota_periods;
drop table copilot_internal.cost_quotas;
drop function if exists copilot_internal.period_bounds(text, text, integer, integer, timestamptz);
drop function if exists copilot_internal.billing_date(date, integer);
