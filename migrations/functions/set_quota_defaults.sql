-- set_quota_defaults: sets what a tenant or user gets at first sight, and with it the quotas of all that are known by now,
-- but for those that an administrator set or deleted.
-- p_defaults: [{ scope, resource_type, period, limit_usd, enforcement }, ...]. p_from_environment: at a start of the service;
-- then a default that an administrator set or took away stays as it is.
create or replace function copilot_internal.set_quota_defaults(p_defaults json, p_from_environment boolean default false)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_changed json;
begin
  perform pg_advisory_xact_lock(copilot_internal.quota_lock());
  with changed as (
    insert into copilot_internal.quota_defaults as d (scope, resource_type, period, limit_usd, enforcement, from_environment, updated_at)
    select w.scope, w.resource_type, w.period, w.limit_usd, coalesce(w.enforcement, 'enforce'), p_from_environment, copilot_internal.clock_now()
    from json_to_recordset(p_defaults) w(
      scope text, resource_type copilot_internal.resource_type, period text, limit_usd numeric, enforcement text)
    on conflict (resource_type, scope, period) do update
      set limit_usd = excluded.limit_usd, enforcement = excluded.enforcement,
          from_environment = excluded.from_environment, updated_at = excluded.updated_at, deleted_at = null
      where (not p_from_environment or d.from_environment)
        and (d.limit_usd, d.enforcement, d.from_environment, d.deleted_at)
            is distinct from (excluded.limit_usd, excluded.enforcement, excluded.from_environment, null)
    returning d.*
  )
  select json_agg(json_build_object(
      'resource_type', c.resource_type, 'scope', c.scope, 'tenant_id', s.tenant_id, 'user_id', nullif(s.user_id, ''),
      'period', c.period, 'limit_usd', c.limit_usd, 'enforcement', c.enforcement))
    into v_changed
    from changed c
    join copilot_internal.scopes s
      on s.resource_type = c.resource_type and s.tenant_id <> '' and (s.user_id = '') = (c.scope = 'tenant');
  if v_changed is not null then
    perform from copilot_internal.set_quotas(v_changed, true);
  end if;
end $$;
comment on function copilot_internal.set_quota_defaults(json, boolean) is 'Sets the default quotas, and the quotas that come from them.';
