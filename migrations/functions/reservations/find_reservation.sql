-- find_reservation: one reservation by its id, always by an index look-up: "offset 0" keeps Postgres from planning the look-ups of a
-- batch as a join, which it would plan as a scan while the table is empty.
-- It has no search_path of its own, so that Postgres inlines it into the caller's statement, as running_limit().
create or replace function copilot_internal.find_reservation(p_reservation_id uuid)
returns setof copilot_internal.reservations
language sql stable rows 1
as $$
  select r.* from copilot_internal.reservations r where r.reservation_id operator(pg_catalog.=) p_reservation_id offset 0
$$;
comment on function copilot_internal.find_reservation(uuid) is 'One reservation by its id, by an index look-up.';
