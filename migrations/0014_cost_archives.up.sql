-- Months of records that left the database for a compressed file, and what has to stay of them.
create table copilot_internal.cost_archives (
  -- The partition, as llm_cost_records_2026_08.
  partition text primary key check (partition ~ '^(llm|e2b)_cost_records_[0-9]{4,6}_[0-9]{2}$'),
  resource_type copilot_internal.resource_type not null,
  -- Its bounds, of recorded_at.
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  -- closed: takes no more lines, its sums stand below. verified: its file was read back and is right. archived: dropped here.
  -- restored: here again, the file stays. deleted: the file is gone, too, after its years.
  state text not null check (state in ('closed', 'verified', 'archived', 'restored', 'deleted')),
  records bigint not null,
  cost_usd numeric not null,
  -- When its lines occurred, null where it has none: a question about them needs them.
  first_occurred_at timestamptz,
  last_occurred_at timestamptz,
  -- The SHA-256 of the uncompressed content, and the name of the file.
  content_sha256 text check (content_sha256 ~ '^[0-9a-f]{64}$'),
  file text,
  closed_at timestamptz not null,
  archived_at timestamptz,
  -- A restored one is left alone until then.
  keep_until timestamptz,
  check ((state = 'closed') or (content_sha256 is not null and file is not null))
);
comment on table copilot_internal.cost_archives is 'One month of records that is, or is about to be, in a file instead of its partition.';

create table copilot_internal.archived_costs (
  partition text not null references copilot_internal.cost_archives (partition) on delete cascade,
  -- The month of UTC in which they occurred.
  starts_at timestamptz not null,
  resource_type copilot_internal.resource_type not null,
  tenant_id text not null,
  user_id text,
  provider text,
  model text,
  tier text,
  -- False for old imports, which no balance counts.
  counted boolean not null,
  records bigint not null,
  cost_usd numeric not null,
  input_tokens numeric not null,
  output_tokens numeric not null,
  seconds numeric not null
);
comment on table copilot_internal.archived_costs is 'What the lines of an archive sum up to, for checks and for the opening of new balances; counts while its archive is neither here nor restored.';
create index archived_costs_partition on copilot_internal.archived_costs (partition);
create index archived_costs_tenant on copilot_internal.archived_costs (tenant_id);

create table copilot_internal.archived_periods (
  partition text not null references copilot_internal.cost_archives (partition) on delete cascade,
  quota_period_id bigint not null,
  cost_usd numeric not null,
  primary key (partition, quota_period_id)
);
comment on table copilot_internal.archived_periods is 'What the lines of an archive have in each balance: added to archived_usd when they are dropped, subtracted when they are restored.';

-- A function that a trigger needs; its current body is in functions/.
create function copilot_internal.guard_closed_partition()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception '% is closed: its records are being archived', tg_table_name using errcode = 'insufficient_privilege';
end $$;
comment on function copilot_internal.guard_closed_partition() is 'Refuses every change of a month that is being archived.';

-- Keys of direct records go by their age; they come in order, so a coarse index is enough.
-- squawk-ignore require-concurrent-index-creation
create index record_keys_recorded on copilot_internal.record_keys using brin (recorded_at) with (pages_per_range = 16);

-- What callers of the first system ask: one row per key, per day (of UTC) in views of the same name with _daily. By tenant, tier
-- and model they come from the rollups and the tail, so archived months count; finer ones from the records that are here.
create view copilot_internal.rolled_costs with (security_invoker = true) as
select r.grain, r.starts_at, r.resource_type, r.tenant_id, r.provider, r.model, r.tier, r.records, r.cost_usd, r.input_tokens, r.output_tokens, r.seconds
from copilot_internal.cost_rollups r
where r.grain in ('day', 'month')
union all
select g.grain, date_trunc(g.grain, t.occurred_at, 'UTC'), t.resource_type, t.tenant_id, t.provider, t.model, t.tier, 1, t.cost_usd,
       coalesce(t.input_tokens, 0), coalesce(t.output_tokens, 0), coalesce(t.seconds, 0)
from copilot_internal.cost_tail t cross join (values ('day'), ('month')) g(grain);
comment on view copilot_internal.rolled_costs is 'The sums of days and of months, with what is not rolled up yet as sums of one line.';

create view copilot_internal.e2b_cost_summary_by_tenant with (security_invoker = true) as
select r.tenant_id, sum(r.records)::bigint as executions,
       sum(r.seconds) as execution_time_seconds, sum(r.cost_usd) as total_cost_usd
from copilot_internal.rolled_costs r
where r.resource_type = 'e2b' and r.grain = 'month'
group by r.tenant_id;
comment on view copilot_internal.e2b_cost_summary_by_tenant is 'Costs of sandbox runs by tenant_id.';
create view copilot_internal.e2b_cost_summary_by_tenant_daily with (security_invoker = true) as
select r.tenant_id, (r.starts_at at time zone 'UTC')::date as day, sum(r.records)::bigint as executions,
       sum(r.seconds) as execution_time_seconds, sum(r.cost_usd) as total_cost_usd
from copilot_internal.rolled_costs r
where r.resource_type = 'e2b' and r.grain = 'day'
group by r.tenant_id, (r.starts_at at time zone 'UTC')::date;
comment on view copilot_internal.e2b_cost_summary_by_tenant_daily is 'Costs of sandbox runs by tenant_id and day.';
create view copilot_internal.e2b_cost_summary_by_user with (security_invoker = true) as
select r.tenant_id, r.user_id, count(*) as executions,
       coalesce(sum(r.execution_time_seconds), 0) as execution_time_seconds, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.e2b_cost_records r
group by r.tenant_id, r.user_id;
comment on view copilot_internal.e2b_cost_summary_by_user is 'Costs of sandbox runs by tenant_id, user_id.';
create view copilot_internal.e2b_cost_summary_by_user_daily with (security_invoker = true) as
select r.tenant_id, r.user_id, (r.occurred_at at time zone 'UTC')::date as day, count(*) as executions,
       coalesce(sum(r.execution_time_seconds), 0) as execution_time_seconds, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.e2b_cost_records r
group by r.tenant_id, r.user_id, (r.occurred_at at time zone 'UTC')::date;
comment on view copilot_internal.e2b_cost_summary_by_user_daily is 'Costs of sandbox runs by tenant_id, user_id and day.';
create view copilot_internal.e2b_cost_summary_by_conversation with (security_invoker = true) as
select r.tenant_id, r.conversation_id, count(*) as executions,
       coalesce(sum(r.execution_time_seconds), 0) as execution_time_seconds, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.e2b_cost_records r
group by r.tenant_id, r.conversation_id;
comment on view copilot_internal.e2b_cost_summary_by_conversation is 'Costs of sandbox runs by tenant_id, conversation_id.';
create view copilot_internal.e2b_cost_summary_by_conversation_daily with (security_invoker = true) as
select r.tenant_id, r.conversation_id, (r.occurred_at at time zone 'UTC')::date as day, count(*) as executions,
       coalesce(sum(r.execution_time_seconds), 0) as execution_time_seconds, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.e2b_cost_records r
group by r.tenant_id, r.conversation_id, (r.occurred_at at time zone 'UTC')::date;
comment on view copilot_internal.e2b_cost_summary_by_conversation_daily is 'Costs of sandbox runs by tenant_id, conversation_id and day.';
create view copilot_internal.e2b_cost_summary_by_path with (security_invoker = true) as
select r.tenant_id, r.path_id, count(*) as executions,
       coalesce(sum(r.execution_time_seconds), 0) as execution_time_seconds, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.e2b_cost_records r
group by r.tenant_id, r.path_id;
comment on view copilot_internal.e2b_cost_summary_by_path is 'Costs of sandbox runs by tenant_id, path_id.';
create view copilot_internal.e2b_cost_summary_by_path_daily with (security_invoker = true) as
select r.tenant_id, r.path_id, (r.occurred_at at time zone 'UTC')::date as day, count(*) as executions,
       coalesce(sum(r.execution_time_seconds), 0) as execution_time_seconds, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.e2b_cost_records r
group by r.tenant_id, r.path_id, (r.occurred_at at time zone 'UTC')::date;
comment on view copilot_internal.e2b_cost_summary_by_path_daily is 'Costs of sandbox runs by tenant_id, path_id and day.';
create view copilot_internal.e2b_cost_summary_by_tier with (security_invoker = true) as
select r.tier, sum(r.records)::bigint as executions,
       sum(r.seconds) as execution_time_seconds, sum(r.cost_usd) as total_cost_usd
from copilot_internal.rolled_costs r
where r.resource_type = 'e2b' and r.grain = 'month'
group by r.tier;
comment on view copilot_internal.e2b_cost_summary_by_tier is 'Costs of sandbox runs by tier.';
create view copilot_internal.e2b_cost_summary_by_tier_daily with (security_invoker = true) as
select r.tier, (r.starts_at at time zone 'UTC')::date as day, sum(r.records)::bigint as executions,
       sum(r.seconds) as execution_time_seconds, sum(r.cost_usd) as total_cost_usd
from copilot_internal.rolled_costs r
where r.resource_type = 'e2b' and r.grain = 'day'
group by r.tier, (r.starts_at at time zone 'UTC')::date;
comment on view copilot_internal.e2b_cost_summary_by_tier_daily is 'Costs of sandbox runs by tier and day.';
create view copilot_internal.cost_summary_by_tenant with (security_invoker = true) as
select r.tenant_id, sum(r.records)::bigint as requests,
       sum(r.input_tokens) as input_tokens, sum(r.output_tokens) as output_tokens, sum(r.input_tokens + r.output_tokens) as total_tokens, sum(r.cost_usd) as total_cost_usd
from copilot_internal.rolled_costs r
where r.resource_type = 'llm' and r.grain = 'month'
group by r.tenant_id;
comment on view copilot_internal.cost_summary_by_tenant is 'Costs of model calls by tenant_id.';
create view copilot_internal.cost_summary_by_tenant_daily with (security_invoker = true) as
select r.tenant_id, (r.starts_at at time zone 'UTC')::date as day, sum(r.records)::bigint as requests,
       sum(r.input_tokens) as input_tokens, sum(r.output_tokens) as output_tokens, sum(r.input_tokens + r.output_tokens) as total_tokens, sum(r.cost_usd) as total_cost_usd
from copilot_internal.rolled_costs r
where r.resource_type = 'llm' and r.grain = 'day'
group by r.tenant_id, (r.starts_at at time zone 'UTC')::date;
comment on view copilot_internal.cost_summary_by_tenant_daily is 'Costs of model calls by tenant_id and day.';
create view copilot_internal.cost_summary_by_user with (security_invoker = true) as
select r.tenant_id, r.user_id, count(*) as requests,
       coalesce(sum(r.input_tokens), 0) as input_tokens, coalesce(sum(r.output_tokens), 0) as output_tokens, coalesce(sum(r.total_tokens), 0) as total_tokens, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.llm_cost_records r
group by r.tenant_id, r.user_id;
comment on view copilot_internal.cost_summary_by_user is 'Costs of model calls by tenant_id, user_id.';
create view copilot_internal.cost_summary_by_user_daily with (security_invoker = true) as
select r.tenant_id, r.user_id, (r.occurred_at at time zone 'UTC')::date as day, count(*) as requests,
       coalesce(sum(r.input_tokens), 0) as input_tokens, coalesce(sum(r.output_tokens), 0) as output_tokens, coalesce(sum(r.total_tokens), 0) as total_tokens, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.llm_cost_records r
group by r.tenant_id, r.user_id, (r.occurred_at at time zone 'UTC')::date;
comment on view copilot_internal.cost_summary_by_user_daily is 'Costs of model calls by tenant_id, user_id and day.';
create view copilot_internal.cost_summary_by_conversation with (security_invoker = true) as
select r.tenant_id, r.conversation_id, count(*) as requests,
       coalesce(sum(r.input_tokens), 0) as input_tokens, coalesce(sum(r.output_tokens), 0) as output_tokens, coalesce(sum(r.total_tokens), 0) as total_tokens, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.llm_cost_records r
group by r.tenant_id, r.conversation_id;
comment on view copilot_internal.cost_summary_by_conversation is 'Costs of model calls by tenant_id, conversation_id.';
create view copilot_internal.cost_summary_by_conversation_daily with (security_invoker = true) as
select r.tenant_id, r.conversation_id, (r.occurred_at at time zone 'UTC')::date as day, count(*) as requests,
       coalesce(sum(r.input_tokens), 0) as input_tokens, coalesce(sum(r.output_tokens), 0) as output_tokens, coalesce(sum(r.total_tokens), 0) as total_tokens, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.llm_cost_records r
group by r.tenant_id, r.conversation_id, (r.occurred_at at time zone 'UTC')::date;
comment on view copilot_internal.cost_summary_by_conversation_daily is 'Costs of model calls by tenant_id, conversation_id and day.';
create view copilot_internal.cost_summary_by_path with (security_invoker = true) as
select r.tenant_id, r.path_id, count(*) as requests,
       coalesce(sum(r.input_tokens), 0) as input_tokens, coalesce(sum(r.output_tokens), 0) as output_tokens, coalesce(sum(r.total_tokens), 0) as total_tokens, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.llm_cost_records r
group by r.tenant_id, r.path_id;
comment on view copilot_internal.cost_summary_by_path is 'Costs of model calls by tenant_id, path_id.';
create view copilot_internal.cost_summary_by_path_daily with (security_invoker = true) as
select r.tenant_id, r.path_id, (r.occurred_at at time zone 'UTC')::date as day, count(*) as requests,
       coalesce(sum(r.input_tokens), 0) as input_tokens, coalesce(sum(r.output_tokens), 0) as output_tokens, coalesce(sum(r.total_tokens), 0) as total_tokens, sum(r.total_cost_usd) as total_cost_usd
from copilot_internal.llm_cost_records r
group by r.tenant_id, r.path_id, (r.occurred_at at time zone 'UTC')::date;
comment on view copilot_internal.cost_summary_by_path_daily is 'Costs of model calls by tenant_id, path_id and day.';
create view copilot_internal.cost_summary_by_model with (security_invoker = true) as
select r.provider, r.model, sum(r.records)::bigint as requests,
       sum(r.input_tokens) as input_tokens, sum(r.output_tokens) as output_tokens, sum(r.input_tokens + r.output_tokens) as total_tokens, sum(r.cost_usd) as total_cost_usd
from copilot_internal.rolled_costs r
where r.resource_type = 'llm' and r.grain = 'month'
group by r.provider, r.model;
comment on view copilot_internal.cost_summary_by_model is 'Costs of model calls by provider, model.';
create view copilot_internal.cost_summary_by_model_daily with (security_invoker = true) as
select r.provider, r.model, (r.starts_at at time zone 'UTC')::date as day, sum(r.records)::bigint as requests,
       sum(r.input_tokens) as input_tokens, sum(r.output_tokens) as output_tokens, sum(r.input_tokens + r.output_tokens) as total_tokens, sum(r.cost_usd) as total_cost_usd
from copilot_internal.rolled_costs r
where r.resource_type = 'llm' and r.grain = 'day'
group by r.provider, r.model, (r.starts_at at time zone 'UTC')::date;
comment on view copilot_internal.cost_summary_by_model_daily is 'Costs of model calls by provider, model and day.';
create view copilot_internal.combined_cost_summary_by_tenant with (security_invoker = true) as
select r.tenant_id,
       coalesce(sum(r.records) filter (where r.resource_type = 'llm'), 0)::bigint as llm_requests,
       coalesce(sum(r.records) filter (where r.resource_type = 'e2b'), 0)::bigint as e2b_executions,
       coalesce(sum(r.cost_usd) filter (where r.resource_type = 'llm'), 0) as llm_cost_usd,
       coalesce(sum(r.cost_usd) filter (where r.resource_type = 'e2b'), 0) as e2b_cost_usd,
       sum(r.cost_usd) as total_cost_usd
from copilot_internal.rolled_costs r
where r.grain = 'month'
group by r.tenant_id;
comment on view copilot_internal.combined_cost_summary_by_tenant is 'Costs of both kinds by tenant_id.';
create view copilot_internal.combined_cost_summary_by_tenant_daily with (security_invoker = true) as
select r.tenant_id, (r.starts_at at time zone 'UTC')::date as day,
       coalesce(sum(r.records) filter (where r.resource_type = 'llm'), 0)::bigint as llm_requests,
       coalesce(sum(r.records) filter (where r.resource_type = 'e2b'), 0)::bigint as e2b_executions,
       coalesce(sum(r.cost_usd) filter (where r.resource_type = 'llm'), 0) as llm_cost_usd,
       coalesce(sum(r.cost_usd) filter (where r.resource_type = 'e2b'), 0) as e2b_cost_usd,
       sum(r.cost_usd) as total_cost_usd
from copilot_internal.rolled_costs r
where r.grain = 'day'
group by r.tenant_id, (r.starts_at at time zone 'UTC')::date;
comment on view copilot_internal.combined_cost_summary_by_tenant_daily is 'Costs of both kinds by tenant_id and day.';

do $$
begin
  if to_regclass('copilot_internal.archived_periods') is null or to_regclass('copilot_internal.record_keys_recorded') is null
     or to_regclass('copilot_internal.combined_cost_summary_by_tenant_daily') is null
  then
    raise exception 'migration 0014 did not make its tables, index and views';
  end if;
end $$;
