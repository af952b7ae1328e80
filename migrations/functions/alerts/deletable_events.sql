-- deletable_events: the events from before p_before that nothing needs any more. delete_old_events() says what keeps an
-- event.
create or replace function copilot_internal.deletable_events(p_before timestamptz, p_now timestamptz)
returns table (event_id uuid)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select e.event_id from copilot_internal.quota_events e
  where e.created_at < p_before and e.endpoint_ids is not null
    and not exists (
      select from copilot_internal.webhook_deliveries d
      where d.event_id = e.event_id and (d.settled_at is null or d.settled_at >= p_before))
    and not exists (
      select from copilot_internal.quota_periods p
      where p.quota_period_id = e.quota_period_id and p.closed_at is null and p.ends_at > p_now)
    -- Compares the id as a uuid, not as text: so it is an index look-up and not a comparison with every delivery.
    and not exists (
      select from copilot_internal.webhook_deliveries d
      where d.delivery_id = case e.type when 'delivery.failed' then split_part(e.once_key, ':', 1)::uuid end)
$$;
comment on function copilot_internal.deletable_events(timestamptz, timestamptz) is 'The events from before a moment that nothing needs any more.';
