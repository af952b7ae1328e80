-- record_period_ids: the balances that count a cost of p_at: of each quota of its scopes, the open rows whose period contains
-- the moment. There may be two, where a quota has changed its time zone. Cost: one look-up a quota.
create or replace function copilot_internal.record_period_ids(
  p_resource_type copilot_internal.resource_type, p_tenant_id text, p_user_id text, p_at timestamptz
)
returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(p.quota_period_id order by p.quota_period_id), '{}')
  from (values ('', ''), (p_tenant_id, ''), (p_tenant_id, p_user_id)) k(tenant_id, user_id)
  cross join lateral (
    select q.quota_id, q.period from copilot_internal.cost_quotas q
    where q.resource_type = p_resource_type and coalesce(q.tenant_id, '') = k.tenant_id and coalesce(q.user_id, '') = k.user_id
      and q.deleted_at is null
    offset 0
  ) q
  cross join lateral (
    select p.quota_period_id from copilot_internal.quota_periods p
    where p.quota_id = q.quota_id and p.closed_at is null and p.starts_at <= p_at and p.ends_at > p_at
      -- No period is longer, whatever the clocks do: the look-up does not walk over a quota's whole past.
      and p.starts_at >= case q.period
        when 'hour' then p_at - interval '2 hours' when 'day' then p_at - interval '3 days'
        when 'week' then p_at - interval '10 days' when 'month' then p_at - interval '35 days' else '-infinity' end
    offset 0
  ) p
  where k.user_id is not null
$$;
comment on function copilot_internal.record_period_ids(copilot_internal.resource_type, text, text, timestamptz) is 'The open balances of a cost''s scopes whose period contains a moment.';
