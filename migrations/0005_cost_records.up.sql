-- Immutable lines of cost, by month of recorded_at. Partitions stand in copilot_partitions, so that old queries list tables only.

create table copilot_internal.llm_cost_records (
  cost_record_id uuid not null,
  reservation_id uuid,
  tenant_id text not null,
  user_id text,
  conversation_id text,
  path_id text,
  labels jsonb not null default '{}',
  provider text,
  model text,
  service_tier text,
  region text,
  usage jsonb not null default '{}',
  input_tokens bigint,
  output_tokens bigint,
  total_tokens bigint generated always as (coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) stored,
  input_cost_usd numeric,
  output_cost_usd numeric,
  total_cost_usd numeric not null,
  price_id bigint,
  estimated boolean not null default false,
  is_estimated boolean generated always as (estimated) stored,
  late boolean not null default false,
  overrun boolean not null default false,
  corrects uuid,
  cached boolean,
  streaming boolean,
  duration_ms numeric,
  success boolean,
  call jsonb,
  quota_period_ids bigint[] not null,
  occurred_at timestamptz not null,
  booked_at timestamptz not null,
  recorded_at timestamptz not null,
  primary key (cost_record_id, recorded_at)
) partition by range (recorded_at);
comment on table copilot_internal.llm_cost_records is 'One immutable line of cost of a model call; corrected by new lines.';
create index llm_cost_records_tenant on copilot_internal.llm_cost_records (tenant_id, occurred_at);
create index llm_cost_records_conversation on copilot_internal.llm_cost_records (conversation_id) where conversation_id is not null;
create index llm_cost_records_path on copilot_internal.llm_cost_records (path_id) where path_id is not null;

create table copilot_internal.e2b_cost_records (
  cost_record_id uuid not null,
  reservation_id uuid,
  execution_context_id uuid,
  tenant_id text not null,
  user_id text,
  conversation_id text,
  path_id text,
  labels jsonb not null default '{}',
  sandbox_id text,
  tier text,
  region text,
  vcpu numeric,
  memory_mib integer,
  usage jsonb not null default '{}',
  execution_time_seconds numeric,
  cpu_core_seconds numeric,
  memory_gb_seconds numeric,
  disk_io_gb numeric,
  network_io_gb numeric,
  total_cost_usd numeric not null,
  price_id bigint,
  estimated boolean not null default false,
  is_estimated boolean generated always as (estimated) stored,
  late boolean not null default false,
  overrun boolean not null default false,
  corrects uuid,
  sandbox_status text,
  operation_type text,
  success boolean,
  call jsonb,
  execution jsonb,
  quota_period_ids bigint[] not null,
  occurred_at timestamptz not null,
  booked_at timestamptz not null,
  recorded_at timestamptz not null,
  primary key (cost_record_id, recorded_at)
) partition by range (recorded_at);
comment on table copilot_internal.e2b_cost_records is 'One immutable line of cost of a sandbox run; corrected by new lines.';
create index e2b_cost_records_tenant on copilot_internal.e2b_cost_records (tenant_id, occurred_at);
create index e2b_cost_records_conversation on copilot_internal.e2b_cost_records (conversation_id) where conversation_id is not null;
create index e2b_cost_records_path on copilot_internal.e2b_cost_records (path_id) where path_id is not null;

create table copilot_internal.record_corrections (
  corrects uuid primary key,
  reversal_id uuid not null,
  successor_id uuid not null,
  corrected_at timestamptz not null,
  reason text not null
);
create unique index record_corrections_successor on copilot_internal.record_corrections (successor_id);
comment on table copilot_internal.record_corrections is 'The correction of a line: its reversal and its successor. A line is corrected once.';

do $$
begin
  if (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = 'copilot_internal' and c.relname in ('llm_cost_records', 'e2b_cost_records', 'record_corrections')) <> 3 then
    raise exception 'migration 0005 did not make its tables';
  end if;
end $$;
