-- Holds of estimated amounts. Not partitioned: the unique key of a request must hold over all of them.
create table copilot_internal.reservations (
  reservation_id uuid primary key,
  status text not null default 'reserved' check (status in ('reserved', 'committed', 'released', 'expired')),
  resource_type copilot_internal.resource_type not null,
  tenant_id text not null,
  user_id text,
  conversation_id text,
  path_id text,
  labels jsonb not null default '{}',
  principal text not null,
  idempotency_key text check (length(idempotency_key) between 1 and 255),
  request_hash bytea not null,
  -- What was asked for: the model or the size, and the quantities of the estimate.
  provider text,
  model text,
  service_tier text,
  region text,
  tier text,
  vcpu numeric,
  memory_mib integer,
  estimate jsonb not null default '{}',
  price_id bigint,
  reserved_usd numeric not null check (reserved_usd >= 0),
  caps jsonb,
  on_expiry text not null check (on_expiry in ('release', 'charge')),
  created_at timestamptz not null,
  granted_at timestamptz not null,
  expires_at timestamptz not null,
  quota_period_ids bigint[] not null,
  -- The earliest end of the held periods: a commit after it is late.
  periods_end_at timestamptz not null,
  settled_at timestamptz,
  release_reason text,
  -- How it was committed, so that the same commit again answers the same.
  commit_hash bytea,
  commit_price_id bigint,
  cost_usd numeric,
  released_usd numeric,
  cost_record_id uuid,
  late boolean,
  estimated boolean,
  constraint reservations_settled check ((status = 'reserved') = (settled_at is null)),
  constraint reservations_committed check ((status = 'committed') = (commit_hash is not null))
) with (fillfactor = 85);
comment on table copilot_internal.reservations is 'One hold: reserved, then committed, released or expired.';
create unique index reservations_idempotency on copilot_internal.reservations (principal, idempotency_key) where idempotency_key is not null;
create index reservations_open on copilot_internal.reservations (expires_at) where status = 'reserved';

-- One item of a batch, as reserve_spend() takes it.
create type copilot_internal.reserve_item as (
  reservation_id uuid,
  resource_type copilot_internal.resource_type,
  tenant_id text,
  user_id text,
  conversation_id text,
  path_id text,
  labels jsonb,
  principal text,
  idempotency_key text,
  request_hash bytea,
  provider text,
  model text,
  service_tier text,
  region text,
  tier text,
  vcpu numeric,
  memory_mib integer,
  estimate jsonb,
  price_id bigint,
  -- For a caller that takes less: what is fixed, and what one more token or second costs; per_unit_usd 0 means all or nothing.
  fixed_usd numeric,
  per_unit_usd numeric,
  caps_name text,
  on_expiry text,
  ttl_seconds integer,
  -- Where the time to live follows the granted seconds: how much longer it is.
  ttl_beyond_units integer
);

-- One item of a batch, as commit_spend() takes it.
create type copilot_internal.commit_item as (
  reservation_id uuid,
  -- Where the principal is bound to a tenant; another tenant's reservation is not found.
  tenant_id text,
  commit_hash bytea,
  cost_record_id uuid,
  -- The id of the reversal, should a lapse have been charged already.
  reversal_id uuid,
  -- tokens, seconds or cost: which of the following says what it cost.
  measure text,
  usage jsonb,
  seconds numeric,
  cost_usd numeric,
  provider text,
  model text,
  sandbox_id text,
  call jsonb,
  execution jsonb,
  resources jsonb
);

-- What commit_spend() works out for an item before it writes anything.
create type copilot_internal.settlement as (
  n integer,
  item copilot_internal.commit_item,
  reservation_id uuid,
  cost_usd numeric,
  input_cost_usd numeric,
  output_cost_usd numeric,
  price_id bigint,
  estimated boolean,
  late boolean,
  -- Given back by this commit.
  held_usd numeric,
  -- Charged when the hold lapsed, and reversed by this commit.
  charged_usd numeric,
  quota_period_ids bigint[]
);

do $$
begin
  if to_regclass('copilot_internal.reservations') is null or to_regclass('copilot_internal.reservations_idempotency') is null then
    raise exception 'migration 0004 did not make its table and index';
  end if;
end $$;
