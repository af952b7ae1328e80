-- default_snapshot: a default quota for the audit log; null if there is none or it was deleted.
create or replace function copilot_internal.default_snapshot(d copilot_internal.quota_defaults)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when d.scope is not null and d.deleted_at is null then jsonb_build_object(
    'scope', d.scope, 'resource_type', d.resource_type, 'period', d.period, 'limit_usd', trim_scale(d.limit_usd),
    'enforcement', d.enforcement) end
$$;
comment on function copilot_internal.default_snapshot(copilot_internal.quota_defaults) is 'A default quota for the audit log.';
