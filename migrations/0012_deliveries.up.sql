-- Deliveries: who is to hear of events, by webhook, e-mail or Slack, and how far each delivery has come.
create table copilot_internal.webhook_endpoints (
  endpoint_id uuid primary key,
  kind text not null check (kind in ('webhook', 'email', 'slack')),
  url text check (length(url) between 1 and 2000),
  recipients text[] check (cardinality(recipients) between 1 and 20),
  types text[] not null,
  tenant_id text check (length(tenant_id) between 1 and 200),
  scope text check (scope in ('platform', 'tenant', 'user')),
  enabled boolean not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint webhook_endpoints_kind_has_its_target check (
    (url is null) = (kind = 'email') and (recipients is null) = (kind <> 'email'))
);
comment on table copilot_internal.webhook_endpoints is 'One place that events are delivered to, and which events: those of types (none: of every type), of a tenant, of a scope.';
comment on column copilot_internal.webhook_endpoints.enabled is 'False: no event is queued for it, and what is queued waits. A webhook that answers 410 is disabled by that.';

create table copilot_internal.webhook_secrets (
  endpoint_id uuid not null references copilot_internal.webhook_endpoints (endpoint_id) on delete cascade,
  secret text not null check (secret ~ '^whsec_[A-Za-z0-9+/]{32,88}={0,2}$'),
  made_at timestamptz not null,
  valid_until timestamptz,
  primary key (endpoint_id, secret)
);
comment on table copilot_internal.webhook_secrets is 'What a webhook''s deliveries are signed with: one secret, or several while a rotation overlaps. Kept as they are, since a signature needs them.';

create table copilot_internal.webhook_deliveries (
  delivery_id uuid primary key,
  endpoint_id uuid not null references copilot_internal.webhook_endpoints (endpoint_id) on delete cascade,
  event_id uuid references copilot_internal.quota_events (event_id) on delete cascade,
  status text not null check (status in ('pending', 'delivered', 'failed')),
  attempts integer not null default 0 check (attempts >= 0),
  redeliveries integer not null default 0 check (redeliveries >= 0),
  last_status integer,
  last_error text check (length(last_error) <= 500),
  next_attempt_at timestamptz,
  created_at timestamptz not null,
  settled_at timestamptz,
  constraint webhook_deliveries_pending_has_a_next_attempt check (
    (status = 'pending') = (next_attempt_at is not null) and (status = 'pending') = (settled_at is null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
comment on table copilot_internal.webhook_deliveries is 'One event on its way to one endpoint. The row is the queue: what is pending is due at next_attempt_at, which an attempt that runs has moved ahead of itself.';
comment on column copilot_internal.webhook_deliveries.event_id is 'Null: a test, which tells of no event.';
comment on column copilot_internal.webhook_deliveries.redeliveries is 'How often it was sent again by hand, each time with all attempts.';
create unique index webhook_deliveries_once on copilot_internal.webhook_deliveries (event_id, endpoint_id);
create index webhook_deliveries_by_endpoint on copilot_internal.webhook_deliveries (endpoint_id, delivery_id);
create index webhook_deliveries_due on copilot_internal.webhook_deliveries (endpoint_id, next_attempt_at) where status = 'pending';

alter table copilot_internal.quota_events add column endpoint_ids uuid[];
comment on column copilot_internal.quota_events.endpoint_ids is 'The endpoints that it was queued for; null where that is not worked out yet.';
-- A flag, not a place that was reached: events commit in another order than that of their ids.
-- squawk-ignore require-concurrent-index-creation -- events are few, and the runner's file is one transaction
create index quota_events_to_fan_out on copilot_internal.quota_events (event_id) where endpoint_ids is null;

do $$
begin
  if to_regclass('copilot_internal.webhook_secrets') is null or to_regclass('copilot_internal.webhook_deliveries_due') is null
     or to_regclass('copilot_internal.quota_events_to_fan_out') is null then
    raise exception 'migration 0012 did not make its tables and indexes';
  end if;
end $$;
