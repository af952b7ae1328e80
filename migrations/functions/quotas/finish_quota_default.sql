-- finish_quota_default: note that every scope that existed when the default was set, at p_updated_at, has its quota. A
-- default that was set again since is still pending.
create or replace function copilot_internal.finish_quota_default(
  p_scope text, p_resource_type copilot_internal.resource_type, p_period text, p_updated_at timestamptz
)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  update copilot_internal.quota_defaults d
    set pending = false
    where (d.resource_type, d.scope, d.period) = (p_resource_type, p_scope, p_period) and d.updated_at = p_updated_at;
$$;
comment on function copilot_internal.finish_quota_default(text, copilot_internal.resource_type, text, timestamptz) is 'Notes that all scopes that existed have the default''s quota.';
