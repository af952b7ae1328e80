-- set_quota_defaults: set the quotas that a tenant or user gets at first sight. Scopes that exist get them in steps;
-- until then the default is pending (default_quotas()).
-- p_defaults: [{ scope, resource_type, period, limit_usd, enforcement }, ...]. p_from_environment: true at a start of
-- the service; then a default that an administrator has set or deleted stays as it is.
-- Locks: (0) exclusively, so that every scope either exists now or meets the default.
create or replace function copilot_internal.set_quota_defaults(
  p_defaults json, p_from_environment boolean default false
)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
begin
  perform pg_advisory_xact_lock(copilot_internal.quota_lock());
  insert into copilot_internal.quota_defaults as d (scope, resource_type, period, limit_usd, enforcement, from_environment, updated_at, pending)
  select w.scope, w.resource_type, w.period, w.limit_usd, coalesce(w.enforcement, 'enforce'), p_from_environment, copilot_internal.clock_now(), true
  from json_to_recordset(p_defaults) w(
    scope text, resource_type copilot_internal.resource_type, period text, limit_usd numeric, enforcement text)
  on conflict (resource_type, scope, period) do update
    set limit_usd = excluded.limit_usd, enforcement = excluded.enforcement,
        from_environment = excluded.from_environment, updated_at = excluded.updated_at, deleted_at = null, pending = true
    where (not p_from_environment or d.from_environment)
      and (d.limit_usd, d.enforcement, d.from_environment, d.deleted_at)
          is distinct from (excluded.limit_usd, excluded.enforcement, excluded.from_environment, null);
end $$;
comment on function copilot_internal.set_quota_defaults(json, boolean) is 'Sets the default quotas; scopes that exist get them in steps.';
