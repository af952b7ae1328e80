-- scope_periods: the running balances of a batch's scopes, as arrays ordered by (scope, id). Makes what is missing.
-- Scope s is (p_types[s], p_tenants[s], p_users[s]), '' for none; all are distinct. Its balances are ids[first[s]] to
-- ids[last[s]] (none if last[s] < first[s]). until[s] is when the first of them ends. The caller holds lock (0). Cost:
-- one look-up per scope.
create or replace function copilot_internal.scope_periods(
  p_types copilot_internal.resource_type[], p_tenants text[], p_users text[], p_now timestamptz, out ids bigint[],
  out first integer[], out last integer[], out until timestamptz[]
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_stale integer[];
  v_counts integer[];
  -- Arrays of different lengths cannot be aggregated, but their texts can.
  v_ids text;
  v_end integer := 0;
begin
  for v_try in 1 .. 2 loop
    -- "offset 0" keeps this an index look-up, as in find_reservation().
    select array_agg(k.n) filter (where (s.valid_from <= p_now and p_now < s.valid_until and p_now < s.look_up_at) is not true),
           array_agg(coalesce(cardinality(s.quota_period_ids), 0)), array_agg(s.valid_until),
           string_agg(array_to_string(s.quota_period_ids, ','), ',') filter (where s.quota_period_ids <> '{}')
      into v_stale, v_counts, until, v_ids
      from unnest(p_types, p_tenants, p_users) with ordinality k(resource_type, tenant_id, user_id, n)
      left join lateral (
        select s.* from copilot_internal.scopes s
        where s.resource_type = k.resource_type and s.tenant_id = k.tenant_id and s.user_id = k.user_id
        offset 0
      ) s on true;
    exit when v_stale is null;
    perform copilot_internal.prepare_scopes(
      array(select p_types[n] from unnest(v_stale) n), array(select p_tenants[n] from unnest(v_stale) n),
      array(select p_users[n] from unnest(v_stale) n), p_now);
  end loop;
  ids := coalesce(string_to_array(v_ids, ','), '{}')::bigint[];
  for s in 1 .. cardinality(v_counts) loop
    first[s] := v_end + 1;
    v_end := v_end + v_counts[s];
    last[s] := v_end;
  end loop;
end $$;
comment on function copilot_internal.scope_periods(copilot_internal.resource_type[], text[], text[], timestamptz) is 'The ids of the running balances of scopes, as arrays; makes missing default quotas and periods.';
