-- late_period_ids: the balances in which a late cost counts beside those that it is known to (p_known): rows that were opened since
-- (p_since, when its hold was granted or its line recorded), whose scope is the cost's and whose period contains the moment it
-- is booked at (rule 6). A row that was made for a past period is none of them: it counts what was recorded into it, and has no
-- opening that holds the rest. Nor is one that was there before: what it did not count then, for instance because its quota had
-- been deleted, cannot be taken off it now.
create or replace function copilot_internal.late_period_ids(
  p_resource_type copilot_internal.resource_type, p_tenant_id text, p_user_id text, p_booked_at timestamptz, p_since timestamptz, p_known bigint[]
)
returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(p.quota_period_id order by p.quota_period_id), '{}')
  from (values ('', ''), (p_tenant_id, ''), (p_tenant_id, p_user_id)) k(tenant_id, user_id)
  join copilot_internal.cost_quotas q
    on q.resource_type = p_resource_type and coalesce(q.tenant_id, '') = k.tenant_id and coalesce(q.user_id, '') = k.user_id
  join copilot_internal.quota_periods p
    on p.quota_id = q.quota_id and p.closed_at is null and p.starts_at <= p_booked_at and p.ends_at > p_booked_at
      and p.opened_at < p.ends_at and p.opened_at >= p_since
      -- No period is longer, whatever the clocks do: the look-up does not walk over a quota's whole past.
      and p.starts_at >= case q.period
        when 'hour' then p_booked_at - interval '2 hours' when 'day' then p_booked_at - interval '3 days'
        when 'week' then p_booked_at - interval '10 days' when 'month' then p_booked_at - interval '35 days' else '-infinity' end
  where k.user_id is not null and p.quota_period_id <> all (p_known)
$$;
comment on function copilot_internal.late_period_ids(copilot_internal.resource_type, text, text, timestamptz, timestamptz, bigint[]) is 'Balances opened since, in which a late cost counts too.';
