-- delete_record_keys: delete keys of direct records from before p_before, and what principals with a ceiling recorded
-- on days before it. Answers how many rows were deleted. The costs stay. If a key is sent again, it makes a new record.
-- Bound: p_rows_max of each a call. Locks: (0) shared -> (1) with skip locked.
create or replace function copilot_internal.delete_record_keys(p_before timestamptz, p_rows_max integer)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_keys integer;
  v_days integer;
begin
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  delete from copilot_internal.record_keys k
    where k.ctid = any (array(
      select o.ctid from copilot_internal.record_keys o where o.recorded_at < p_before
      limit p_rows_max
      for update skip locked));
  get diagnostics v_keys = row_count;
  delete from copilot_internal.record_days d
    where d.ctid = any (array(
      select o.ctid from copilot_internal.record_days o where o.day < (p_before at time zone 'UTC')::date
      limit p_rows_max
      for update skip locked));
  get diagnostics v_days = row_count;
  return v_keys + v_days;
end $$;
comment on function copilot_internal.delete_record_keys(timestamptz, integer) is 'Deletes old keys of direct records, and old days of ceilings.';
