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

do $$
begin
  if to_regclass('copilot_internal.archived_periods') is null or to_regclass('copilot_internal.record_keys_recorded') is null then
    raise exception 'migration 0014 did not make its tables and index';
  end if;
end $$;
