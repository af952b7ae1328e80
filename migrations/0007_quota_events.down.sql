alter table copilot_internal.quota_periods drop column arming, drop column next_event_usd;
drop table copilot_internal.quota_events;
