-- record_period_ids: the balances that count a cost of p_at: the open ones of each quota of its scopes whose period
-- contains the moment. Cost: one look-up per quota.
create or replace function copilot_internal.record_period_ids(
  p_resource_type copilot_internal.resource_type, p_tenant_id text, p_user_id text, p_at timestamptz
)
returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(p.quota_period_id order by p.quota_period_id), '{}')
  from (values ('', ''), (p_tenant_id, ''), (p_tenant_id, p_user_id)) k(tenant_id, user_id)
  cross join lateral copilot_internal.scope_quotas(p_resource_type, k.tenant_id, k.user_id) q
  cross join lateral copilot_internal.periods_at(q.quota_id, q.period, p_at) p
  where k.user_id is not null and q.deleted_at is null
$$;
comment on function copilot_internal.record_period_ids(copilot_internal.resource_type, text, text, timestamptz) is 'The open balances of a cost''s scopes whose period contains a moment.';
