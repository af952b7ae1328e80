delete from copilot_internal.name_counts c where c.type <> 'price.missing';
alter table copilot_internal.name_counts drop constraint name_counts_pkey;
-- squawk-ignore ban-drop-column -- it goes with its release
alter table copilot_internal.name_counts drop column type;
-- squawk-ignore renaming-table -- only functions name it, and they go with this migration
alter table copilot_internal.name_counts rename to missing_price_counts;
-- squawk-ignore adding-serial-primary-key-field, constraint-missing-not-valid -- the table is locked since its column was dropped
alter table copilot_internal.missing_price_counts add constraint missing_price_counts_pkey primary key (principal, day);
comment on table copilot_internal.missing_price_counts is 'How many names without a price a principal has come with on a day of UTC.';

-- The release before knows neither type. No type at all means every type, so an endpoint of these alone is disabled.
update copilot_internal.webhook_endpoints w
  set enabled = w.enabled and not w.types <@ array['usage.unreadable', 'usage.unread'],
      types = array(select t from unnest(w.types) with ordinality u(t, nth) where t not in ('usage.unreadable', 'usage.unread') order by nth)
  where w.types && array['usage.unreadable', 'usage.unread'];
delete from copilot_internal.quota_events e where e.type in ('usage.unreadable', 'usage.unread');
alter table copilot_internal.quota_events drop constraint quota_events_type_check;
alter table copilot_internal.quota_events add constraint quota_events_type_check check (type in (
  'quota.warning', 'quota.exceeded', 'quota.overrun', 'reservation.late', 'reservation.lapsed', 'price.missing',
  'price.stale', 'cost.anomaly', 'delivery.failed', 'integrity.broken')) not valid;
-- squawk-ignore constraint-missing-not-valid -- events are few, and the runner's file is one transaction
alter table copilot_internal.quota_events validate constraint quota_events_type_check;

alter type copilot_internal.settlement drop attribute estimate_reason;
alter type copilot_internal.commit_item drop attribute unreadable_usage;
-- squawk-ignore ban-drop-column -- it goes with its release
alter table copilot_internal.llm_cost_records drop column unreadable_usage;
