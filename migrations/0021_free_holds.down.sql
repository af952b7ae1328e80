alter table copilot_internal.reservations drop column is_free;
