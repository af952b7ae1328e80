-- Quotas, their balances per period, and what unknown tenants and users get at first sight.
create table copilot_internal.cost_quotas (
  quota_id bigint generated always as identity primary key,
  resource_type copilot_internal.resource_type not null default 'llm',
  scope text not null check (scope in ('platform', 'tenant', 'user')),
  tenant_id text check (length(tenant_id) between 1 and 200),
  user_id text check (length(user_id) between 1 and 200),
  -- For callers of the first system, which named one id per scope.
  scope_id text generated always as (case scope when 'user' then user_id when 'tenant' then tenant_id else 'platform' end) stored,
  period text not null check (period in ('hour', 'day', 'week', 'month', 'total')),
  limit_usd numeric not null check (limit_usd >= 0 and limit_usd < 1e9),
  enforcement text not null default 'enforce' check (enforcement in ('enforce', 'warn', 'off')),
  thresholds numeric[] not null default '{0.8,0.9}',
  warning_threshold numeric generated always as (thresholds[1]) stored,
  time_zone text not null default 'UTC',
  week_starts_on smallint not null default 1 check (week_starts_on between 1 and 7),
  billing_day smallint not null default 1 check (billing_day between 1 and 31),
  raise_limit_usd numeric check (raise_limit_usd >= 0 and raise_limit_usd < 1e9),
  raise_until timestamptz,
  from_default boolean not null default false,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  deleted_at timestamptz,
  constraint cost_quotas_scope_has_its_ids check (
    (scope = 'platform' and tenant_id is null and user_id is null)
    or (scope = 'tenant' and tenant_id is not null and user_id is null)
    or (scope = 'user' and tenant_id is not null and user_id is not null)
  ),
  constraint cost_quotas_raise_is_whole check ((raise_limit_usd is null) = (raise_until is null))
);
-- Ids have at least one character, so '' can stand for "none"; a comparison with null could not use the index.
create unique index cost_quotas_natural_key on copilot_internal.cost_quotas (resource_type, coalesce(tenant_id, ''), coalesce(user_id, ''), period);
comment on table copilot_internal.cost_quotas is 'One quota: a limit in USD for a scope, a resource type and a period. A deleted one stays, so that no default brings it back.';
comment on column copilot_internal.cost_quotas.from_default is 'Made at first sight from quota_defaults, and not set by an admin since.';

create table copilot_internal.quota_periods (
  quota_period_id bigint generated always as identity primary key,
  quota_id bigint not null references copilot_internal.cost_quotas (quota_id),
  -- The quota's natural key, which never changes, so that no decision needs a join.
  resource_type copilot_internal.resource_type not null,
  scope text not null,
  tenant_id text,
  user_id text,
  period text not null,
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  spent numeric not null default 0,
  reserved numeric not null default 0,
  opening_usd numeric not null default 0,
  archived_usd numeric not null default 0,
  -- Copies, so that a decision reads only the row that it locks. set_quota() keeps them.
  limit_usd numeric not null,
  raise_limit_usd numeric,
  raise_until timestamptz,
  enforcement text not null,
  over_cause text check (over_cause in ('commit', 'record', 'limit', 'opening', 'enforcement', 'warned')),
  opened_at timestamptz not null,
  closed_at timestamptz,
  check (spent >= 0 and reserved >= 0),
  check (starts_at < ends_at)
) with (
  -- Hot rows: each batch updates them, so leave room for HOT updates and clean up early.
  fillfactor = 40, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0
);
comment on table copilot_internal.quota_periods is 'The balance of a quota in one half-open period. No index stands on what changes.';
comment on column copilot_internal.quota_periods.over_cause is 'Why spent + reserved is above the limit, where something else than an enforced grant put it there.';
create unique index quota_periods_open on copilot_internal.quota_periods (quota_id, starts_at) where closed_at is null;

create table copilot_internal.quota_defaults (
  scope text not null check (scope in ('tenant', 'user')),
  resource_type copilot_internal.resource_type not null,
  period text not null check (period in ('hour', 'day', 'week', 'month', 'total')),
  limit_usd numeric not null check (limit_usd >= 0 and limit_usd < 1e9),
  enforcement text not null default 'enforce' check (enforcement in ('enforce', 'warn', 'off')),
  from_environment boolean not null,
  updated_at timestamptz not null,
  primary key (resource_type, scope, period)
);
comment on table copilot_internal.quota_defaults is 'The quotas that a tenant or user gets at first sight.';

create table copilot_internal.scopes (
  resource_type copilot_internal.resource_type not null,
  -- '' stands for "none": the platform has neither, a tenant no user. Ids have at least one character.
  tenant_id text not null default '',
  user_id text not null default '',
  quota_period_ids bigint[] not null default '{}',
  valid_from timestamptz not null,
  valid_until timestamptz not null,
  primary key (resource_type, tenant_id, user_id),
  check (user_id = '' or tenant_id <> '')
);
comment on table copilot_internal.scopes is 'Each scope that has been seen, and the balances that run for it from valid_from until valid_until: one look-up on the hot path. Derived from cost_quotas and quota_periods.';

-- The functions of the calendar stand here too, because a view needs them; their current bodies are in functions/.
create function copilot_internal.billing_date(p_month date, p_billing_day integer)
returns date
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select least(p_month + (p_billing_day - 1), (p_month + interval '1 month')::date - 1)
$$;
comment on function copilot_internal.billing_date(date, integer) is 'The billing day in the month that begins on the given date.';

create function copilot_internal.period_bounds(
  p_period text, p_time_zone text, p_week_starts_on integer, p_billing_day integer, p_at timestamptz,
  out starts_at timestamptz, out ends_at timestamptz
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_date date;
  v_month date;
begin
  case p_period
    when 'total' then
      starts_at := '1970-01-01T00:00:00Z';
      ends_at := '9999-12-31T00:00:00Z';
    when 'hour' then
      starts_at := date_trunc('hour', p_at, 'UTC');
      ends_at := starts_at + interval '1 hour';
    when 'day' then
      v_date := (p_at at time zone p_time_zone)::date;
      starts_at := v_date::timestamp at time zone p_time_zone;
      ends_at := (v_date + 1)::timestamp at time zone p_time_zone;
    when 'week' then
      v_date := (p_at at time zone p_time_zone)::date;
      v_date := v_date - ((extract(isodow from v_date)::integer - p_week_starts_on + 7) % 7);
      starts_at := v_date::timestamp at time zone p_time_zone;
      ends_at := (v_date + 7)::timestamp at time zone p_time_zone;
    when 'month' then
      v_date := (p_at at time zone p_time_zone)::date;
      v_month := date_trunc('month', v_date::timestamp)::date;
      if v_date < copilot_internal.billing_date(v_month, p_billing_day) then
        v_month := (v_month - interval '1 month')::date;
      end if;
      starts_at := copilot_internal.billing_date(v_month, p_billing_day)::timestamp at time zone p_time_zone;
      ends_at := copilot_internal.billing_date((v_month + interval '1 month')::date, p_billing_day)::timestamp at time zone p_time_zone;
    else
      raise exception 'period % is not one of hour, day, week, month, total', p_period using errcode = 'invalid_parameter_value';
  end case;
end $$;
comment on function copilot_internal.period_bounds(text, text, integer, integer, timestamptz) is 'The half-open period that contains a moment, in a quota''s time zone.';

create view copilot_internal.cost_quota_status with (security_invoker = true) as
select q.quota_id, q.resource_type, q.scope, q.scope_id, q.tenant_id, q.user_id, q.period, q.enforcement, q.thresholds, q.warning_threshold,
       case when q.raise_until > copilot_internal.clock_now() then q.raise_limit_usd else q.limit_usd end as limit_usd,
       coalesce(p.spent, 0) as current_spend_usd,
       coalesce(p.reserved, 0) as reserved_usd,
       b.starts_at as period_start,
       b.ends_at as period_end
from copilot_internal.cost_quotas q
cross join lateral copilot_internal.period_bounds(q.period, q.time_zone, q.week_starts_on, q.billing_day, copilot_internal.clock_now()) b
left join copilot_internal.quota_periods p on p.quota_id = q.quota_id and p.starts_at = b.starts_at and p.closed_at is null
where q.deleted_at is null;
comment on view copilot_internal.cost_quota_status is 'Each quota with its running balance; zero where nothing has touched the period yet.';

do $$
begin
  if (select count(*) from pg_tables where schemaname = 'copilot_internal'
        and tablename in ('cost_quotas', 'quota_periods', 'quota_defaults', 'scopes')) <> 4 then
    raise exception 'migration 0003 did not make its tables';
  end if;
end $$;
