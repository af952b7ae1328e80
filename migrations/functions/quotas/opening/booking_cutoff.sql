-- booking_cutoff: a moment at which no decision is in flight, so that what was recorded before it can be read by now, and what comes is
-- recorded at it or later. Null where none of these quotas, as set_quotas() takes them, opens a balance: then nothing waits.
-- A clock that is set back within the seconds until the quotas are set would have costs left out.
-- Locks: (0) exclusively, to the end of the statement.
create or replace function copilot_internal.booking_cutoff(p_quotas json)
returns timestamptz
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
begin
  if not exists (select from copilot_internal.quota_inputs(p_quotas) w where w.opens) then
    return null;
  end if;
  perform pg_advisory_xact_lock(copilot_internal.quota_lock());
  return copilot_internal.clock_now();
end $$;
comment on function copilot_internal.booking_cutoff(json) is 'A moment without a decision in flight, for quotas that open a balance.';
