drop type copilot_internal.settlement;
drop type copilot_internal.commit_item;
drop type copilot_internal.reserve_item;
drop table copilot_internal.reservations;
