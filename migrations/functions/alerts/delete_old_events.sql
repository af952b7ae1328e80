-- delete_old_events: delete events from before p_before with their deliveries, and deliveries of tests, the oldest
-- first. Answers how many events were deleted.
-- These events are kept: those that are still to be queued or delivered; those with a delivery that was settled since
-- p_before; those of a balance that still runs, and reports of a failed delivery while that delivery exists, because
-- without them the same event would be emitted again. Counts of names are deleted once their day is over.
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
  -- One day more, in case the clock is set back.
  delete from copilot_internal.name_counts c where c.day < (v_now at time zone 'UTC')::date - 1;
  delete from copilot_internal.quota_events e
    where e.event_id in (
      select o.event_id from copilot_internal.deletable_events(p_before, v_now) o order by o.event_id limit p_rows_max)
    -- Checked again under the lock: the event may have been sent again meanwhile.
    and not exists (
      select from copilot_internal.webhook_deliveries d
      where d.event_id = e.event_id and (d.settled_at is null or d.settled_at >= p_before));
  get diagnostics v_events = row_count;
  return v_events;
end $$;
comment on function copilot_internal.delete_old_events(timestamptz, integer) is 'Deletes old events that nothing needs any more, with their deliveries.';
