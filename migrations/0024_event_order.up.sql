-- What a caller can make many of must not keep the rest from being told: such deliveries wait, and names without a price are counted.
create table copilot_internal.missing_price_counts (
  principal text not null,
  day date not null,
  tenant_id text,
  names bigint not null,
  primary key (principal, day)
);
comment on table copilot_internal.missing_price_counts is 'How many names without a price a principal has come with on a day of UTC.';
comment on column copilot_internal.missing_price_counts.tenant_id is 'The tenant that all of them are of; null where they are of several.';

alter table copilot_internal.webhook_deliveries add column priority smallint not null default 0;
comment on column copilot_internal.webhook_deliveries.priority is 'What has a smaller one goes first, and has room that the others leave it: fan_out_events() says which type has which.';
update copilot_internal.webhook_deliveries d
set priority = case when e.type in ('price.missing', 'price.stale', 'delivery.failed') then 2 else 1 end
from copilot_internal.quota_events e
where e.event_id = d.event_id and d.status = 'pending'
  and e.type in ('price.missing', 'price.stale', 'delivery.failed', 'quota.overrun', 'reservation.late', 'reservation.lapsed');
-- squawk-ignore require-concurrent-index-deletion -- within the runner's transaction
drop index copilot_internal.webhook_deliveries_due;
-- squawk-ignore require-concurrent-index-creation -- what is pending is little, and the runner's file is one transaction
create index webhook_deliveries_due on copilot_internal.webhook_deliveries (endpoint_id, priority, next_attempt_at) where status = 'pending';

do $$
begin
  if to_regclass('copilot_internal.missing_price_counts') is null
     or not exists (
       select from pg_attribute where attrelid = 'copilot_internal.webhook_deliveries_due'::regclass and attname = 'priority') then
    raise exception 'migration 0024 did not make its table, column and index';
  end if;
end $$;
