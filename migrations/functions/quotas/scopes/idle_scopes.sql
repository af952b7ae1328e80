-- idle_scopes: the first p_scopes_max tenants and users after the given one that nobody has used since p_before.
-- Nothing is spent or held in any of their balances, and no administrator has set or deleted a quota of theirs.
-- is_free: nothing names them, so retire_scopes() may remove them.
-- A tenant or user is named by each of its lines of cost, archived or not and whatever they cost, by each stored
-- reservation, settled ones too, and by each event about one of its quotas. So a late commit or a correction still
-- finds its balances.
-- Cost: reads the lines, reservations and events of the tenants that it answers. Locks: none.
create or replace function copilot_internal.idle_scopes(
  p_before timestamptz, p_after_type copilot_internal.resource_type, p_after_tenant text, p_after_user text,
  p_scopes_max integer
)
returns table (resource_type copilot_internal.resource_type, tenant_id text, user_id text, is_free boolean)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_idle copilot_internal.scopes[];
  v_tenants text[];
begin
  v_idle := array(
    select s
    from copilot_internal.scopes s
    where (s.resource_type, s.tenant_id, s.user_id) > (p_after_type, p_after_tenant, p_after_user)
      and s.tenant_id <> '' and s.look_up_at < p_before and copilot_internal.is_untouched(s)
    order by s.resource_type, s.tenant_id, s.user_id
    limit p_scopes_max);
  if cardinality(v_idle) = 0 then
    return;
  end if;
  v_tenants := array(select distinct i.tenant_id from unnest(v_idle) i);
  return query
  with named as materialized (
    select 'llm'::copilot_internal.resource_type as resource_type, c.tenant_id, c.user_id
    from copilot_internal.llm_cost_records c where c.tenant_id = any (v_tenants)
    union
    select 'e2b', c.tenant_id, c.user_id from copilot_internal.e2b_cost_records c where c.tenant_id = any (v_tenants)
    union
    select c.resource_type, c.tenant_id, c.user_id from copilot_internal.archived_costs c where c.tenant_id = any (v_tenants)
    union
    select r.resource_type, r.tenant_id, r.user_id from copilot_internal.reservations r where r.tenant_id = any (v_tenants)
    union
    select q.resource_type, q.tenant_id, q.user_id
    from copilot_internal.quota_events e
    join copilot_internal.cost_quotas q on q.quota_id = e.quota_id
    where e.tenant_id = any (v_tenants)
  ),
  named_scopes as materialized (
    select distinct n.resource_type, n.tenant_id, s.user_id
    from named n
    -- What names a user names its tenant too.
    cross join lateral (values (''), (n.user_id)) s(user_id)
    where s.user_id is not null
  )
  select i.resource_type, i.tenant_id, i.user_id, n.tenant_id is null
  from unnest(v_idle) i
  left join named_scopes n on n.resource_type = i.resource_type and n.tenant_id = i.tenant_id and n.user_id = i.user_id
  order by i.resource_type, i.tenant_id, i.user_id;
end $$;
comment on function copilot_internal.idle_scopes(timestamptz, copilot_internal.resource_type, text, text, integer) is 'Tenants and users that nobody uses, and whether anything names them.';
