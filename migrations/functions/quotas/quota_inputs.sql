-- quota_inputs: quotas in the form that set_quotas() takes, in the given order and with their defaults filled in,
-- beside what each of them is now (old; nulls if there is none). opens: whether setting the quota opens a balance,
-- because it is new, was deleted, or its periods begin at other times.
create or replace function copilot_internal.quota_inputs(p_quotas json)
returns table (
  n bigint, resource_type copilot_internal.resource_type, scope text, tenant_id text, user_id text, period text,
  limit_usd numeric, enforcement text, thresholds numeric[], time_zone text, week_starts_on smallint,
  billing_day smallint, raise_limit_usd numeric, raise_until timestamptz, booked json, old copilot_internal.cost_quotas,
  opens boolean
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select w.*, old,
         old.quota_id is null or old.deleted_at is not null
           or (old.time_zone, old.week_starts_on, old.billing_day) is distinct from (w.time_zone, w.week_starts_on, w.billing_day)
  from (
    select e.ordinality, coalesce(q.resource_type, 'llm') as resource_type, q.scope, q.tenant_id, q.user_id, q.period, q.limit_usd,
           coalesce(q.enforcement, 'enforce'), coalesce(q.thresholds, '{0.8,0.9}'),
           coalesce(q.time_zone, 'UTC') as time_zone, coalesce(q.week_starts_on, 1::smallint) as week_starts_on,
           coalesce(q.billing_day, 1::smallint) as billing_day,
           (q.raise ->> 'limit_usd')::numeric, (q.raise ->> 'until')::timestamptz, q.booked
    from json_array_elements(p_quotas) with ordinality e,
      json_to_record(e.value) q(
        resource_type copilot_internal.resource_type, scope text, tenant_id text, user_id text, period text, limit_usd numeric,
        enforcement text, thresholds numeric[], time_zone text, week_starts_on smallint, billing_day smallint, raise json, booked json)
  ) w
  left join lateral copilot_internal.scope_quotas(w.resource_type, coalesce(w.tenant_id, ''), coalesce(w.user_id, '')) old
    on old.period = w.period
  order by w.ordinality
$$;
comment on function copilot_internal.quota_inputs(json) is 'Quotas that are to be set, beside what they are now.';
