-- default_quotas: one step of giving a pending default to the tenants or users that exist. Answers the first
-- p_scopes_max of them after (p_after_tenant, p_after_user), each with the quota, in the form of set_quotas(), that it
-- lacks or has differently. The quota is null if the scope has it already, or if an administrator has set or deleted
-- its own.
create or replace function copilot_internal.default_quotas(
  p_scope text, p_resource_type copilot_internal.resource_type, p_period text, p_after_tenant text, p_after_user text,
  p_scopes_max integer
)
returns table (tenant_id text, user_id text, quota json)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select s.tenant_id, s.user_id,
         case when q.quota_id is null
             or (q.from_default and q.deleted_at is null and (q.limit_usd, q.enforcement) is distinct from (d.limit_usd, d.enforcement))
           then json_build_object(
             'resource_type', d.resource_type, 'scope', d.scope, 'tenant_id', s.tenant_id, 'user_id', nullif(s.user_id, ''),
             'period', d.period, 'limit_usd', d.limit_usd::text, 'enforcement', d.enforcement) end
  from copilot_internal.quota_defaults d
  cross join lateral (
    select s.tenant_id, s.user_id from copilot_internal.scopes s
    where s.resource_type = d.resource_type and s.tenant_id <> '' and (s.user_id = '') = (d.scope = 'tenant')
      and (s.tenant_id, s.user_id) > (p_after_tenant, p_after_user)
    order by s.tenant_id, s.user_id
    limit p_scopes_max
  ) s
  left join lateral copilot_internal.scope_quotas(d.resource_type, s.tenant_id, s.user_id) q on q.period = d.period
  where (d.resource_type, d.scope, d.period) = (p_resource_type, p_scope, p_period) and d.deleted_at is null and d.pending
  order by s.tenant_id, s.user_id
$$;
comment on function copilot_internal.default_quotas(text, copilot_internal.resource_type, text, text, text, integer) is 'Known tenants or users in order, with the quota that a pending default gives them.';
