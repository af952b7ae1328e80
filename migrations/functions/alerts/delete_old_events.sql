-- delete_old_events: deletes events of before p_before, with their deliveries, and deliveries of tests, the oldest first; answers how
-- many events. What is still to be queued or delivered stays, and what was settled since p_before; so does what keeps
-- something from being told twice: an event of a balance that still runs, and that a delivery was given up, as long as that
-- delivery is there. Counts of names go once their day is over.
-- Bound: p_rows_max events a call.
create or replace function copilot_internal.delete_old_events(p_before timestamptz, p_rows_max integer)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_now timestamptz := copilot_internal.clock_now();
  v_events integer;
begin
  delete from copilot_internal.webhook_deliveries d where d.event_id is null and d.settled_at < p_before;
  -- A day more, for a clock that is set back.
  delete from copilot_internal.name_counts c where c.day < (v_now at time zone 'UTC')::date - 1;
  delete from copilot_internal.quota_events e
    where e.event_id in (
      select o.event_id from copilot_internal.deletable_events(p_before, v_now) o order by o.event_id limit p_rows_max)
    -- Asked again of what is locked now: it may have been sent again.
    and not exists (
      select from copilot_internal.webhook_deliveries d
      where d.event_id = e.event_id and (d.settled_at is null or d.settled_at >= p_before));
  get diagnostics v_events = row_count;
  return v_events;
end $$;
comment on function copilot_internal.delete_old_events(timestamptz, integer) is 'Deletes events that were delivered long ago.';
