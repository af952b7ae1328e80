-- delete_settled: delete reservations that were settled, and keys of direct records, from before p_before, the oldest
-- first. Answers how many rows were deleted. The costs stay.
-- Bound: p_rows_max of each a call. Locks: (0) shared -> (1) with skip locked.
create or replace function copilot_internal.delete_settled(p_before timestamptz, p_rows_max integer)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_reservations integer;
begin
  -- Lines from before migration 0020 need what their reservations say about their price: see keep_line_facts().
  if exists (select from copilot_internal.line_facts_walk w where not w.is_done) then
    raise exception 'reservations have not been copied to their lines yet' using errcode = 'object_not_in_prerequisite_state';
  end if;
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  delete from copilot_internal.reservations r
    where r.reservation_id in (
      select o.reservation_id from copilot_internal.reservations o
      -- Not by the time in the id: an application made the id, and its clock may have been wrong.
      where o.settled_at < p_before
      order by o.settled_at
      limit p_rows_max
      for update skip locked);
  get diagnostics v_reservations = row_count;
  return v_reservations + copilot_internal.delete_record_keys(p_before, p_rows_max);
end $$;
comment on function copilot_internal.delete_settled(timestamptz, integer) is 'Deletes reservations and keys that were settled long ago.';
