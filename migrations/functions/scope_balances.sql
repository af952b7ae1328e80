-- scope_balances: the running balances of a batch's scopes, as arrays ordered by (scope, id); makes what is missing.
-- Scope s is (p_types[s], p_tenants[s], p_users[s]), '' for none; all distinct. p_service: 2 enforce, 1 warn, 0 off.
-- Balances first[s] to last[s] are those of scope s; until[s] is when the first of them ends. modes: 2 enforce, 1 warn, 0 off,
-- the weaker of the service's and the quota's. The caller holds lock (0). Cost: one look-up a scope and one a balance.
create or replace function copilot_internal.scope_balances(
  p_types copilot_internal.resource_type[], p_tenants text[], p_users text[], p_now timestamptz, p_service integer,
  out ids bigint[], out limits numeric[], out spent numeric[], out reserved numeric[], out modes integer[],
  out first integer[], out last integer[], out until timestamptz[]
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_scopes integer[];
  v_untils timestamptz[];
  v_stale integer[];
begin
  for v_try in 1 .. 2 loop
    -- "offset 0" keeps each look-up a look-up: a plain join could be planned, while the table is empty, as a scan of it.
    select array_agg(distinct k.n) filter (where (s.valid_from <= p_now and p_now < s.valid_until) is not true),
           array_agg(k.n), array_agg(s.valid_until), array_agg(p.quota_period_id), array_agg(p.spent), array_agg(p.reserved),
           array_agg(case when p.raise_until > p_now then p.raise_limit_usd else p.limit_usd end),
           array_agg(least(p_service, case p.enforcement when 'enforce' then 2 when 'warn' then 1 else 0 end))
      into v_stale, v_scopes, v_untils, ids, spent, reserved, limits, modes
      from unnest(p_types, p_tenants, p_users) with ordinality k(resource_type, tenant_id, user_id, n)
      left join lateral (
        select s.* from copilot_internal.scopes s
        where s.resource_type = k.resource_type and s.tenant_id = k.tenant_id and s.user_id = k.user_id
        offset 0
      ) s on true
      left join lateral unnest(s.quota_period_ids) u(quota_period_id) on true
      left join lateral (
        select p.* from copilot_internal.quota_periods p where p.quota_period_id = u.quota_period_id
        offset 0
      ) p on true;
    exit when v_stale is null;
    perform copilot_internal.prepare_scopes(
      array(select p_types[n] from unnest(v_stale) n), array(select p_tenants[n] from unnest(v_stale) n),
      array(select p_users[n] from unnest(v_stale) n), p_now);
  end loop;
  -- A scope without quotas has one row without a balance; it stays, with no limit that could bind.
  for i in 1 .. cardinality(v_scopes) loop
    if i = 1 or v_scopes[i] <> v_scopes[i - 1] then
      first[v_scopes[i]] := i;
      until[v_scopes[i]] := v_untils[i];
    end if;
    last[v_scopes[i]] := i;
  end loop;
end $$;
comment on function copilot_internal.scope_balances(copilot_internal.resource_type[], text[], text[], timestamptz, integer) is 'The running balances of scopes, as parallel arrays; makes default quotas and periods that are missing.';
