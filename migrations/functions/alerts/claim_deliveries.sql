-- claim_deliveries: start an attempt of each delivery that is due, by priority and then the longest due first, with all
-- that sending needs.
--
-- p_endpoint_ids, p_in_flight: how many attempts the caller is running for each endpoint. One caller runs at most 20
-- attempts for an endpoint, 4 for a mailbox, so a dead endpoint takes no other one's place. Deliveries of priority 1
-- start only while fewer than three quarters of these attempts run, those of priority 2 while fewer than half do. So
-- more urgent deliveries always have room.
-- The attempt is counted here, so that one that ends in a crash counts too. The delivery becomes due again after 60
-- seconds, which is longer than any attempt takes.
-- Locks: the deliveries that are due; those that another transaction has locked are skipped.
create or replace function copilot_internal.claim_deliveries(p_endpoint_ids uuid[], p_in_flight integer[])
returns table (
  delivery_id uuid, endpoint_id uuid, attempt integer, kind text, url text, recipients text[], secrets text[],
  event json, started_at timestamptz
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := copilot_internal.clock_now();
begin
  return query
  with due as materialized (
    select c.delivery_id
    from copilot_internal.webhook_endpoints w
    cross join lateral (
      select case w.kind when 'email' then 4 else 20 end as most,
             coalesce((select b.n from unnest(p_endpoint_ids, p_in_flight) b(endpoint_id, n) where b.endpoint_id = w.endpoint_id), 0) as running
    ) s
    cross join lateral (
      select d.delivery_id, d.priority, row_number() over (order by d.priority, d.next_attempt_at, d.delivery_id) as place
      from generate_series(0, 2) p(priority)
      cross join lateral (
        select d.delivery_id, d.priority, d.next_attempt_at
        from copilot_internal.webhook_deliveries d
        where d.endpoint_id = w.endpoint_id and d.status = 'pending' and d.priority = p.priority and d.next_attempt_at <= v_now
        order by d.next_attempt_at, d.delivery_id
        limit greatest(0, s.most * (4 - p.priority) / 4 - s.running)
        for update skip locked
      ) d
    ) c
    where w.enabled and c.place <= s.most * (4 - c.priority) / 4 - s.running
  ),
  claimed as (
    update copilot_internal.webhook_deliveries d
      set attempts = d.attempts + 1, next_attempt_at = v_now + interval '60 seconds'
      from due
      where d.delivery_id = due.delivery_id
      returning d.delivery_id, d.endpoint_id, d.event_id, d.attempts
  )
  select c.delivery_id, c.endpoint_id, c.attempts, w.kind, w.url, w.recipients,
         array(
           select s.secret from copilot_internal.webhook_secrets s
           where s.endpoint_id = c.endpoint_id and (s.valid_until is null or s.valid_until > v_now)
           order by s.made_at desc limit 4),
         case when e.event_id is null then null
           else json_build_object('event_id', e.event_id, 'type', e.type, 'created_at', e.created_at, 'tenant_id', e.tenant_id,
             'user_id', e.user_id, 'quota_id', e.quota_id, 'data', e.data) end,
         v_now
  from claimed c
  join copilot_internal.webhook_endpoints w on w.endpoint_id = c.endpoint_id
  left join copilot_internal.quota_events e on e.event_id = c.event_id;
end $$;
comment on function copilot_internal.claim_deliveries(uuid[], integer[]) is 'Starts an attempt of each delivery that is due.';
