-- scope_balances: the running balances of a batch's scopes, as arrays ordered by (scope, id); makes what is missing.
-- p_scopes: [[resource_type, tenant_id, user_id], ...], '' for none. p_service: 2 enforce, 1 warn, 0 off.
-- Balances first[s] to last[s] are those of scope s; until[s] is when the first of them ends. modes: 2 enforce, 1 warn, 0 off,
-- the weaker of the service's and the quota's. Caller holds lock (0). Cost: one look-up a scope and one a balance.
create or replace function copilot_internal.scope_balances(
  p_scopes json, p_now timestamptz, p_service integer,
  out ids bigint[], out limits numeric[], out spent numeric[], out reserved numeric[], out modes integer[],
  out first integer[], out last integer[], out until timestamptz[]
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ready boolean;
begin
  for v_try in 1 .. 2 loop
    select bool_and(coalesce(s.valid_from <= p_now and p_now < s.valid_until, false)),
           array_agg(coalesce(cardinality(s.quota_period_ids), 0)), array_agg(s.valid_until)
      into v_ready, last, until
      from (select (e ->> 0)::copilot_internal.resource_type as resource_type, e ->> 1 as tenant_id, e ->> 2 as user_id
            from json_array_elements(p_scopes) e) k
      left join copilot_internal.scopes s
        on s.resource_type = k.resource_type and s.tenant_id = k.tenant_id and s.user_id = k.user_id;
    exit when v_ready;
    perform copilot_internal.prepare_scopes(p_scopes, p_now);
  end loop;
  first := array_fill(1, array[cardinality(last)]);
  for s in 2 .. cardinality(last) loop
    first[s] := last[s - 1] + 1;
    last[s] := last[s - 1] + last[s];
  end loop;
  select coalesce(array_agg(p.quota_period_id), '{}'), array_agg(p.spent), array_agg(p.reserved),
         array_agg(case when p.raise_until > p_now then p.raise_limit_usd else p.limit_usd end),
         array_agg(least(p_service, case p.enforcement when 'enforce' then 2 when 'warn' then 1 else 0 end))
    into ids, spent, reserved, limits, modes
    from (select (e ->> 0)::copilot_internal.resource_type as resource_type, e ->> 1 as tenant_id, e ->> 2 as user_id
          from json_array_elements(p_scopes) e) k
    join copilot_internal.scopes s
      on s.resource_type = k.resource_type and s.tenant_id = k.tenant_id and s.user_id = k.user_id
    cross join lateral unnest(s.quota_period_ids) u(quota_period_id)
    join copilot_internal.quota_periods p on p.quota_period_id = u.quota_period_id;
end $$;
comment on function copilot_internal.scope_balances(json, timestamptz, integer) is 'The running balances of scopes, as parallel arrays; makes default quotas and periods that are missing.';
