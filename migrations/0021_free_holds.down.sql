alter type copilot_internal.reserve_item drop attribute is_free;
alter table copilot_internal.reservations drop column is_free;
