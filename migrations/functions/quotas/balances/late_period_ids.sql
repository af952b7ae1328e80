-- late_period_ids: the balances in which a late cost counts in addition to those that it already names (p_known): rows
-- that were opened since p_since (when its hold was granted or its line was recorded), whose scope is the cost's and
-- whose period contains its booked_at (rule 6).
-- Two kinds of rows are left out. A row that was made for a past period counts only what was recorded into it, and has
-- no opening that contains the hold. A row that existed before p_since and did not count the hold then, for instance
-- because its quota was deleted, has nothing that could be taken off it now.
create or replace function copilot_internal.late_period_ids(
  p_resource_type copilot_internal.resource_type, p_tenant_id text, p_user_id text, p_booked_at timestamptz,
  p_since timestamptz, p_known bigint[]
)
returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(p.quota_period_id order by p.quota_period_id), '{}')
  from (values ('', ''), (p_tenant_id, ''), (p_tenant_id, p_user_id)) k(tenant_id, user_id)
  cross join lateral copilot_internal.scope_quotas(p_resource_type, k.tenant_id, k.user_id) q
  cross join lateral copilot_internal.periods_at(q.quota_id, q.period, p_booked_at) p
  where k.user_id is not null and p.opened_at < p.ends_at and p.opened_at >= p_since and p.quota_period_id <> all (p_known)
$$;
comment on function copilot_internal.late_period_ids(copilot_internal.resource_type, text, text, timestamptz, timestamptz, bigint[]) is 'Balances opened since, in which a late cost counts too.';
