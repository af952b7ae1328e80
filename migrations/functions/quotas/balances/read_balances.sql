-- read_balances: what a decision needs of balances, as arrays in the order of p_ids. modes: 2 enforce, 1 warn, 0 off,
-- the weaker of the service's mode (p_service) and the quota's. Locks nothing; after change_balances() the rows are
-- locked by this transaction.
create or replace function copilot_internal.read_balances(
  p_ids bigint[], p_now timestamptz, p_service integer, out limits numeric[], out spent numeric[],
  out reserved numeric[], out modes integer[]
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(copilot_internal.running_limit(p.limit_usd, p.raise_limit_usd, p.raise_until, p_now)),
         array_agg(p.spent), array_agg(p.reserved),
         array_agg(least(p_service, case p.enforcement when 'enforce' then 2 when 'warn' then 1 else 0 end))
  from unnest(p_ids) u(quota_period_id)
  cross join lateral (select p.* from copilot_internal.quota_periods p where p.quota_period_id = u.quota_period_id offset 0) p
$$;
comment on function copilot_internal.read_balances(bigint[], timestamptz, integer) is 'Limits, spent, reserved and modes of balances, as parallel arrays.';
