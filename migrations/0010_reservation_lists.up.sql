-- A tenant's reservations, the newest first: without it a list of a tenant's few would read those of all. Ids are in the order of
-- time, so each tenant's entries grow at one place.
-- It is built in place: the runner's transaction allows nothing else, and the table holds the reservations of some days only.
-- squawk-ignore require-concurrent-index-creation
create index reservations_tenant on copilot_internal.reservations (tenant_id, reservation_id);

do $$
begin
  if to_regclass('copilot_internal.reservations_tenant') is null then
    raise exception 'migration 0010 did not make its index';
  end if;
end $$;
