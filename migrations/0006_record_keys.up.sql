-- Idempotency keys of direct records: not partitioned, because a unique index over partitions would need the date.
create table copilot_internal.record_keys (
  principal text not null,
  idempotency_key text not null check (length(idempotency_key) between 1 and 255),
  request_hash bytea not null,
  cost_record_id uuid not null,
  -- The record's, so that one partition is looked at.
  recorded_at timestamptz not null,
  primary key (principal, idempotency_key)
);
comment on table copilot_internal.record_keys is 'The idempotency key of a direct record, unique per principal; a record that came without one has its own id as its key.';

comment on column copilot_internal.llm_cost_records.booked_at is 'The moment whose periods count the line; -infinity for an old import, which none counts.';
comment on column copilot_internal.e2b_cost_records.booked_at is 'The moment whose periods count the line; -infinity for an old import, which none counts.';

-- One item of a list, as record_spend() takes it.
create type copilot_internal.record_item as (
  cost_record_id uuid,
  resource_type copilot_internal.resource_type,
  tenant_id text,
  user_id text,
  conversation_id text,
  path_id text,
  labels jsonb,
  principal text,
  idempotency_key text,
  request_hash bytea,
  -- Null: now.
  occurred_at timestamptz,
  -- tokens, seconds or cost: which of the following says what it cost.
  measure text,
  usage jsonb,
  seconds numeric,
  cost_usd numeric,
  provider text,
  model text,
  service_tier text,
  region text,
  tier text,
  vcpu numeric,
  memory_mib integer
);

-- What record_spend() works out for an item before it writes anything but its key.
create type copilot_internal.record_booking as (
  n integer,
  item copilot_internal.record_item,
  occurred_at timestamptz,
  -- False where it is older than the retention.
  counted boolean,
  cost_usd numeric,
  input_cost_usd numeric,
  output_cost_usd numeric,
  price_id bigint,
  quota_period_ids bigint[]
);

do $$
begin
  if to_regclass('copilot_internal.record_keys') is null or to_regtype('copilot_internal.record_booking') is null then
    raise exception 'migration 0006 did not make its table and types';
  end if;
end $$;
