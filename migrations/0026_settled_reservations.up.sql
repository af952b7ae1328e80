-- What was settled long ago is found by when that was: the time in an id is of the application's clock, which may be wrong. A commit
-- appends to this index on its right; it has left the indexes of open holds by then.
-- squawk-ignore require-concurrent-index-creation -- a scan of reservations, and the runner's file is one transaction
create index reservations_settled on copilot_internal.reservations (settled_at) where settled_at is not null;
-- The same for events.
-- squawk-ignore require-concurrent-index-creation -- events are few, and the runner's file is one transaction
create index quota_events_by_time on copilot_internal.quota_events (created_at);

do $$
begin
  if to_regclass('copilot_internal.reservations_settled') is null or to_regclass('copilot_internal.quota_events_by_time') is null then
    raise exception 'migration 0026 did not make its indexes';
  end if;
end $$;
