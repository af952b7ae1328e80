-- balances_json: balances by id in the order given, as one object of parallel arrays, amounts as text so that no client
-- floats them. p_service: 2 enforce, 1 warn, 0 off. The limit is the one in force at p_now.
create or replace function copilot_internal.balances_json(p_ids bigint[], p_now timestamptz)
returns json
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    'quota_period_id', array_agg(p.quota_period_id), 'quota_id', array_agg(p.quota_id),
    'scope', array_agg(p.scope), 'tenant_id', array_agg(p.tenant_id), 'user_id', array_agg(p.user_id),
    'period', array_agg(p.period), 'enforcement', array_agg(p.enforcement),
    'limit_usd', array_agg((case when p.raise_until > p_now then p.raise_limit_usd else p.limit_usd end)::text),
    'spent_usd', array_agg(p.spent::text), 'reserved_usd', array_agg(p.reserved::text),
    'starts_at', array_agg(p.starts_at), 'ends_at', array_agg(p.ends_at))
  from unnest(p_ids) u(quota_period_id)
  join copilot_internal.quota_periods p on p.quota_period_id = u.quota_period_id
$$;
comment on function copilot_internal.balances_json(bigint[], timestamptz) is 'Balances as an object of parallel arrays.';
