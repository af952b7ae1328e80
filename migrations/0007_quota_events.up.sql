-- The outbox: what money did that somebody should know of, written in the transaction that causes it.
create table copilot_internal.quota_events (
  event_id uuid primary key,
  type text not null check (type in (
    'quota.warning', 'quota.exceeded', 'quota.overrun', 'reservation.late', 'reservation.lapsed', 'price.missing',
    'price.stale', 'cost.anomaly', 'delivery.failed', 'integrity.broken')),
  created_at timestamptz not null,
  tenant_id text,
  user_id text,
  quota_id bigint,
  quota_period_id bigint,
  -- Amounts (names that end in _usd) stand as decimal text, so that no reader floats them.
  data jsonb not null,
  -- What may be told only once, in words of its type.
  once_key text not null
);
comment on table copilot_internal.quota_events is 'One event, told once: a threshold crossed, a quota exceeded, an overrun, a late commit, a lapsed hold, a price that is missing.';
create unique index quota_events_once on copilot_internal.quota_events (type, once_key);
create index quota_events_by_tenant on copilot_internal.quota_events (tenant_id, event_id);

-- 0: not worked out yet, so the first cost of a period does it, whoever has made the row.
alter table copilot_internal.quota_periods
  add column arming integer not null default 0,
  add column next_event_usd numeric not null default 0;
comment on column copilot_internal.quota_periods.arming is 'Counts the changes of the limit: each arms the thresholds anew.';
comment on column copilot_internal.quota_periods.next_event_usd is 'The least spent at which an event is due; infinity for none.';

do $$
begin
  if to_regclass('copilot_internal.quota_events_once') is null
     or not exists (select from pg_attribute where attrelid = 'copilot_internal.quota_periods'::regclass and attname = 'next_event_usd') then
    raise exception 'migration 0007 did not make its table and columns';
  end if;
end $$;
