-- A tenant's quotas are looked up by the reader, too, whose row-level security lets no comparison of a resource type come
-- before its own: the natural key, which begins with one, served only the service, and the reader read every quota.
-- squawk-ignore require-concurrent-index-creation -- quotas are few, and the runner's file is one transaction
create index cost_quotas_of_tenant on copilot_internal.cost_quotas (tenant_id, user_id);

do $$
begin
  if to_regclass('copilot_internal.cost_quotas_of_tenant') is null then
    raise exception 'migration 0017 did not make its index';
  end if;
end $$;
