-- retire_scopes: remove tenants and users that idle_scopes() found free, with the quotas that defaults gave them and
-- all balances of those. Answers how many. If one of them is seen again, the defaults apply as at first sight.
-- If something has named one of them since, a decision has prepared it again and moved its look_up_at, so it is left
-- alone.
-- Locks: (0) exclusively, so that no decision is about to name a removed balance. Bound: the caller sends some hundred.
create or replace function copilot_internal.retire_scopes(
  p_types copilot_internal.resource_type[], p_tenants text[], p_users text[], p_before timestamptz
)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_scopes copilot_internal.scopes[];
  v_quotas bigint[];
begin
  perform pg_advisory_xact_lock(copilot_internal.quota_lock());
  v_scopes := array(
    select f.scope
    from unnest(p_types, p_tenants, p_users) k(resource_type, tenant_id, user_id)
    cross join lateral (
      select s as scope from copilot_internal.scopes s
      where s.resource_type = k.resource_type and s.tenant_id = k.tenant_id and s.user_id = k.user_id
        and s.look_up_at < p_before and copilot_internal.is_untouched(s)
      offset 0
    ) f);
  v_quotas := array(
    select q.quota_id
    from unnest(v_scopes) k
    cross join lateral copilot_internal.scope_quotas(k.resource_type, k.tenant_id, k.user_id) q);
  delete from copilot_internal.quota_periods p where p.quota_id = any (v_quotas);
  delete from copilot_internal.cost_quotas q where q.quota_id = any (v_quotas);
  delete from copilot_internal.scopes s
    using unnest(v_scopes) k
    where s.resource_type = k.resource_type and s.tenant_id = k.tenant_id and s.user_id = k.user_id;
  return cardinality(v_scopes);
end $$;
comment on function copilot_internal.retire_scopes(copilot_internal.resource_type[], text[], text[], timestamptz) is 'Removes idle tenants and users, with the quotas that defaults gave them.';
