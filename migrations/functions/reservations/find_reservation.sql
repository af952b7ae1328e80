-- find_reservation: one reservation by its id, always by an index look-up. "offset 0" keeps Postgres from planning the
-- look-ups of a batch as one join, which it would do by a scan while the table is empty. Inlined, as running_limit().
create or replace function copilot_internal.find_reservation(p_reservation_id uuid)
returns setof copilot_internal.reservations
language sql stable rows 1
as $$
  select r.* from copilot_internal.reservations r where r.reservation_id operator(pg_catalog.=) p_reservation_id offset 0
$$;
comment on function copilot_internal.find_reservation(uuid) is 'One reservation by its id, by an index look-up.';
