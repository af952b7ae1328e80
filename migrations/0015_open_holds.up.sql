-- Who holds most of a tenant's quotas is looked up among its open holds, not among everybody's.
-- squawk-ignore require-concurrent-index-creation -- a scan of reservations, and the runner's file is one transaction
create index reservations_open_of_tenant on copilot_internal.reservations (tenant_id, expires_at) where status = 'reserved';

do $$
begin
  if to_regclass('copilot_internal.reservations_open_of_tenant') is null then
    raise exception 'migration 0015 did not make its index';
  end if;
end $$;
