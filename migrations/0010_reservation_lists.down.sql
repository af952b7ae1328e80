-- In place, as it was made.
-- squawk-ignore require-concurrent-index-deletion
drop index copilot_internal.reservations_tenant;
