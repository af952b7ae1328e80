-- check_e2b_quota: whether an estimated cost fits into every enforced e2b quota of a scope. Callers of the first system
-- ask this before they start a sandbox. It holds nothing; reserve_spend() decides.
-- p_scope: platform, tenant or user. A user is named without a tenant, so every quota of that user id must allow the
-- cost. A tenant or user that was never seen is checked against its default quotas.
create or replace function copilot_internal.check_e2b_quota(p_scope text, p_scope_id text, p_estimated_cost numeric)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_scope is null or p_scope not in ('platform', 'tenant', 'user') then
    raise exception 'scope % is not one of platform, tenant, user', p_scope using errcode = 'invalid_parameter_value';
  end if;
  if (p_estimated_cost >= 0) is not true then
    raise exception 'an estimated cost is 0 or more, not %', p_estimated_cost using errcode = 'invalid_parameter_value';
  end if;
  if exists (
    select from copilot_internal.cost_quota_status q
    where q.resource_type = 'e2b' and q.scope = p_scope and (p_scope = 'platform' or q.scope_id = p_scope_id)
      and q.enforcement = 'enforce' and q.current_spend_usd + q.reserved_usd + p_estimated_cost > q.limit_usd
  ) then
    return false;
  end if;
  return not exists (
    select from copilot_internal.quota_defaults d
    where d.resource_type = 'e2b' and d.scope = p_scope and d.deleted_at is null and d.enforcement = 'enforce'
      and p_estimated_cost > d.limit_usd
      and not exists (
        select from copilot_internal.cost_quotas q
        where q.resource_type = 'e2b' and q.scope = p_scope and q.scope_id = p_scope_id)
      and not exists (
        select from copilot_internal.scopes s
        where s.resource_type = 'e2b'
          and case p_scope when 'tenant' then s.tenant_id = p_scope_id and s.user_id = '' else s.user_id = p_scope_id end));
end $$;
comment on function copilot_internal.check_e2b_quota(text, text, numeric) is 'Whether an estimated cost fits into the e2b quotas of a scope.';
