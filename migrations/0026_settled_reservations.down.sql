-- squawk-ignore require-concurrent-index-deletion -- an index is dropped in no time once its lock is there
drop index copilot_internal.quota_events_by_time;
-- squawk-ignore require-concurrent-index-deletion -- an index is dropped in no time once its lock is there
drop index copilot_internal.reservations_settled;
