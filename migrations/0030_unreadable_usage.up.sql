-- A usage object that cannot be read loses no commit: the reserved amount is booked, and the object stays with the line until a
-- reader understands it.
alter table copilot_internal.llm_cost_records add column unreadable_usage jsonb;
comment on column copilot_internal.llm_cost_records.unreadable_usage is
  'Where the usage could not be read: { "reasons": [{ "pointer", "message" }], "provider_usage": its numbers and words, null where it was too large }.';
alter type copilot_internal.commit_item add attribute unreadable_usage jsonb;
alter type copilot_internal.settlement add attribute estimate_reason copilot_internal.estimate_reason;

-- Two types of events tell of it. As with price.missing, callers bring what they name, so each type has its own count of names.
alter table copilot_internal.quota_events drop constraint quota_events_type_check;
alter table copilot_internal.quota_events add constraint quota_events_type_check check (type in (
  'quota.warning', 'quota.exceeded', 'quota.overrun', 'reservation.late', 'reservation.lapsed', 'price.missing',
  'price.stale', 'usage.unreadable', 'usage.unread', 'cost.anomaly', 'delivery.failed', 'integrity.broken')) not valid;
-- squawk-ignore constraint-missing-not-valid -- events are few, and the runner's file is one transaction
alter table copilot_internal.quota_events validate constraint quota_events_type_check;
-- squawk-ignore renaming-table -- only functions name it, and they come with this migration
alter table copilot_internal.missing_price_counts rename to name_counts;
alter table copilot_internal.name_counts add column type text not null default 'price.missing';
alter table copilot_internal.name_counts alter column type drop default;
alter table copilot_internal.name_counts drop constraint missing_price_counts_pkey;
-- squawk-ignore adding-serial-primary-key-field, constraint-missing-not-valid -- it has the counts of two days, and is locked already
alter table copilot_internal.name_counts add constraint name_counts_pkey primary key (type, principal, day);
comment on table copilot_internal.name_counts is 'How many names a principal has come with on a day of UTC, by the type of the events that tell of them.';
comment on column copilot_internal.name_counts.type is 'price.missing: models without a price; usage.unreadable, usage.unread: places and fields of usage objects.';

do $$
begin
  if not exists (
       select from pg_attribute where attrelid = 'copilot_internal.llm_cost_records'::regclass and attname = 'unreadable_usage')
     or (select count(*) from pg_attribute a join pg_type t on t.typrelid = a.attrelid
         where (t.oid, a.attname) in (
           ('copilot_internal.commit_item'::regtype, 'unreadable_usage'), ('copilot_internal.settlement'::regtype, 'estimate_reason'))) <> 2
     or to_regclass('copilot_internal.name_counts_pkey') is null then
    raise exception 'migration 0030 did not make its column, attributes and counts';
  end if;
end $$;
