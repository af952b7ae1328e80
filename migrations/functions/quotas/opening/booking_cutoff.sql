-- booking_cutoff: a moment with no decision in flight: everything that was recorded before it can be read now, and
-- everything later is recorded at it or after it. So booked_before() can sum up to it while decisions go on. Null if
-- none of these quotas, in the form of set_quotas(), opens a balance; then nothing waits.
-- If the clock is set back in the seconds until the quotas are set, costs would be missed.
-- Locks: (0) exclusively, until the statement ends.
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
comment on function copilot_internal.booking_cutoff(json) is 'A moment with no decision in flight, for quotas that open a balance.';
