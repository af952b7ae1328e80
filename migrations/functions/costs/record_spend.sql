-- record_spend: book costs that had no reservation, all of them or none, each once for its key.
--
-- Never refused for lack of quota. A record counts in the periods that contain its occurred_at; missing ones are made.
-- Tokens are priced at that moment, sandboxes second by second from it on (rules 4 and 9). If a principal sends a key
-- again for the same tenant and request, the answer is the first record. If two items have one key, the second shares
-- the first one's record.
-- p_retention_days: older records are accepted with p_import only, and count in no period (their booked_at is
-- -infinity).
-- p_silent: the service only counts, so no quota emits an event. Bound: 1,000 items a call.
-- p_day_max_usd: the most that the principal, the same of all items, may record in a day of UTC; null for no ceiling.
-- Above it nothing is recorded, and the answer is { now, day_usd, asked_usd }, where day_usd is what the principal has
-- recorded today. Repeats do not count again.
-- Answers { now, faults, records }. If faults is null, everything is recorded. Otherwise nothing is, and faults says
-- why:
--   [{ "index": from 0, "fault": "mismatch" | "ahead" (by more than 5 minutes) | "old" | "unpriced" }, ...]
-- records[i] is { "cost_record_id", "cost_usd" as text, "replayed" }, in the order of the items.
--
-- Locks: (0) shared advisory, then missing quotas and periods in natural-key order -> (1) the new keys by (principal,
-- tenant, key), then the principal's day -> (2) quota_periods by id -> (3) appends.
create or replace function copilot_internal.record_spend(
  p_items copilot_internal.record_item[], p_retention_days integer, p_import boolean, p_silent boolean default false,
  p_day_max_usd numeric default null
)
returns json
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_now timestamptz;
  v_oldest timestamptz;
  v_newest timestamptz;
  v_scopes record;
  v_inserted uuid[];
  v_bookings copilot_internal.record_booking[];
  v_faults json;
  v_asked_usd numeric;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'record_spend() runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
  end if;
  if cardinality(p_items) not between 1 and 1000 then
    raise exception 'a list has 1 to 1,000 records' using errcode = 'program_limit_exceeded';
  end if;
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  v_now := copilot_internal.clock_now();
  v_oldest := v_now - make_interval(hours => 24 * p_retention_days);
  v_newest := v_now + interval '5 minutes';
  -- Checked before anything is made: a record that is ahead cannot be a repeat.
  select json_agg(json_build_object('index', i.ordinality - 1, 'fault', 'ahead') order by i.ordinality) into v_faults
    from unnest(p_items) with ordinality i
    where i.occurred_at > v_newest;
  if v_faults is not null then
    return json_build_object('now', v_now, 'faults', v_faults);
  end if;
  perform copilot_internal.ensure_cost_partitions(v_now);

  select array_agg(s.resource_type) as types, array_agg(s.tenant_id) as tenants, array_agg(s.user_id) as users into v_scopes
    from (
      select distinct i.resource_type, s.tenant_id, s.user_id
      from unnest(p_items) i
      cross join lateral (values ('', ''), (i.tenant_id, ''), (i.tenant_id, i.user_id)) s(tenant_id, user_id)
      where s.user_id is not null
      order by i.resource_type, s.tenant_id, s.user_id
    ) s;
  perform from copilot_internal.scope_periods(v_scopes.types, v_scopes.tenants, v_scopes.users, v_now);
  perform copilot_internal.prepare_record_periods(
      array_agg(s.resource_type), array_agg(s.tenant_id), array_agg(s.user_id), array_agg(s.at), v_now)
    from (
      select distinct i.resource_type, s.tenant_id, s.user_id, coalesce(i.occurred_at, v_now) as at
      from unnest(p_items) i
      cross join lateral (values ('', ''), (i.tenant_id, ''), (i.tenant_id, i.user_id)) s(tenant_id, user_id)
      where s.user_id is not null and coalesce(i.occurred_at, v_now) >= v_oldest
    ) s;

  -- Lock (1). If another transaction is inserting the same key, this waits for it and then inserts nothing.
  with inserted as (
    insert into copilot_internal.record_keys (principal, tenant_id, idempotency_key, request_hash, cost_record_id, recorded_at)
    select i.principal, i.tenant_id, i.idempotency_key, i.request_hash, i.cost_record_id, v_now
    from unnest(p_items) with ordinality i
    -- In key order, as in every list. The first of two items with one key wins.
    order by i.principal, i.tenant_id, i.idempotency_key, i.ordinality
    on conflict do nothing
    returning cost_record_id
  )
  select coalesce(array_agg(cost_record_id), '{}') into v_inserted from inserted;

  v_bookings := array(
    select row(
      i.n, i.item, i.at,
      i.at >= v_oldest,
      coalesce(i.cost_usd, (llm.cost).total_cost_usd, (e2b.cost).total_cost_usd), (llm.cost).input_cost_usd, (llm.cost).output_cost_usd,
      case i.measure when 'tokens' then (card.price).price_id when 'seconds' then (e2b.cost).price_id end,
      case when i.at >= v_oldest
        then copilot_internal.record_period_ids(i.resource_type, i.tenant_id, i.user_id, i.at) else '{}' end,
      (card.price).model
    )::copilot_internal.record_booking
    from (
      select u.n, u.item, (u.item).*, coalesce((u.item).occurred_at, v_now) as at
      from (select g.n, p_items[g.n] as item from generate_subscripts(p_items, 1) g(n)) u
    ) i
    -- Called in the select list, as in commit_spend().
    left join lateral (
      select copilot_internal.find_model_price(i.provider, i.model, i.at) as price where i.measure = 'tokens' offset 0
    ) card on true
    left join lateral (
      select copilot_internal.price_llm_usage(card.price, i.usage, i.service_tier, i.region) as cost where i.measure = 'tokens' offset 0
    ) llm on true
    left join lateral (
      select copilot_internal.price_e2b_usage(i.tier, i.region, i.vcpu, i.memory_mib, i.at, i.seconds) as cost where i.measure = 'seconds' offset 0
    ) e2b on true
    where i.cost_record_id = any (v_inserted)
    order by i.n);

  select json_agg(json_build_object('index', f.n - 1, 'fault', f.fault) order by f.n) into v_faults
    from (
      select b.n, case when b.counted or p_import then 'unpriced' else 'old' end as fault
      from unnest(v_bookings) b
      where b.cost_usd is null or not (b.counted or p_import)
      union all
      select i.ordinality, 'mismatch'
      from unnest(p_items) with ordinality i
      cross join lateral (
        select k.request_hash from copilot_internal.record_keys k
        where k.principal = i.principal and k.tenant_id = i.tenant_id and k.idempotency_key = i.idempotency_key
        offset 0
      ) k
      where not copilot_internal.same_request(k.request_hash, i.request_hash)
    ) f;
  if v_faults is not null then
    delete from copilot_internal.record_keys k
      using unnest(v_bookings) b
      where k.principal = (b.item).principal and k.tenant_id = (b.item).tenant_id and k.idempotency_key = (b.item).idempotency_key;
    return json_build_object('now', v_now, 'faults', v_faults);
  end if;

  if p_day_max_usd is not null then
    v_asked_usd := (select coalesce(sum(b.cost_usd), 0) from unnest(v_bookings) b);
    -- The day's row stays locked until the end, so the calls of one principal are counted one after the other.
    insert into copilot_internal.record_days as d (principal, day, recorded_usd)
      select p_items[1].principal, (v_now at time zone 'UTC')::date, v_asked_usd
      where v_asked_usd <= p_day_max_usd
      on conflict (principal, day) do update
        set recorded_usd = d.recorded_usd + excluded.recorded_usd
        where d.recorded_usd + excluded.recorded_usd <= p_day_max_usd;
    if not found then
      delete from copilot_internal.record_keys k
        using unnest(v_bookings) b
        where k.principal = (b.item).principal and k.idempotency_key = (b.item).idempotency_key;
      return json_build_object('now', v_now, 'asked_usd', v_asked_usd::text, 'day_usd', coalesce((
        select d.recorded_usd from copilot_internal.record_days d
        where d.principal = p_items[1].principal and d.day = (v_now at time zone 'UTC')::date), 0)::text);
    end if;
  end if;

  perform copilot_internal.change_balances(
      array_agg(p.id), array_agg(b.cost_usd), array_agg(0::numeric), 'record', v_now, p_silent)
    from unnest(v_bookings) b
    cross join lateral unnest(b.quota_period_ids) p(id);

  insert into copilot_internal.llm_cost_records (
    cost_record_id, tenant_id, user_id, conversation_id, path_id, labels, provider, model, service_tier, region, usage,
    input_tokens, output_tokens, input_cost_usd, output_cost_usd, total_cost_usd, price_id,
    quota_period_ids, occurred_at, booked_at, recorded_at, priced_at, priced_model)
  select i.cost_record_id, i.tenant_id, i.user_id, i.conversation_id, i.path_id, coalesce(i.labels, '{}'), i.provider, i.model,
         copilot_internal.priced_tier(i.service_tier, i.usage ->> 'service_tier'),
         i.region, coalesce(i.usage, '{}'), (i.usage -> 'input_tokens')::bigint, (i.usage -> 'output_tokens')::bigint,
         b.input_cost_usd, b.output_cost_usd, b.cost_usd, b.price_id,
         b.quota_period_ids, b.occurred_at, case when b.counted then b.occurred_at else '-infinity' end, v_now,
         b.occurred_at, b.priced_model
  from unnest(v_bookings) b
  cross join lateral (select (b.item).*) i
  where i.resource_type = 'llm';

  insert into copilot_internal.e2b_cost_records (
    cost_record_id, tenant_id, user_id, conversation_id, path_id, labels, tier, region, vcpu, memory_mib, usage,
    execution_time_seconds, total_cost_usd, price_id, quota_period_ids, occurred_at, booked_at, recorded_at, priced_at)
  select i.cost_record_id, i.tenant_id, i.user_id, i.conversation_id, i.path_id, coalesce(i.labels, '{}'),
         i.tier, i.region, i.vcpu, i.memory_mib, jsonb_strip_nulls(jsonb_build_object('seconds', i.seconds)), i.seconds,
         b.cost_usd, b.price_id,
         b.quota_period_ids, b.occurred_at, case when b.counted then b.occurred_at else '-infinity' end, v_now,
         b.occurred_at
  from unnest(v_bookings) b
  cross join lateral (select (b.item).*) i
  where i.resource_type = 'e2b';

  -- The answers are read from the stored records, so that a repeat gets the answer of the first.
  return (
    select json_build_object('now', v_now, 'records', json_agg(json_build_object(
        'cost_record_id', k.cost_record_id, 'cost_usd', c.total_cost_usd::text,
        -- An item that the service sends again after a lost connection has the same id, and is no repeat.
        'replayed', k.cost_record_id <> i.cost_record_id) order by i.ordinality))
    from unnest(p_items) with ordinality i
    cross join lateral (
      select k.cost_record_id, k.recorded_at from copilot_internal.record_keys k
      where k.principal = i.principal and k.tenant_id = i.tenant_id and k.idempotency_key = i.idempotency_key
      offset 0
    ) k
    cross join lateral (
      select l.total_cost_usd from copilot_internal.llm_cost_records l
      where i.resource_type = 'llm' and l.cost_record_id = k.cost_record_id and l.recorded_at = k.recorded_at
      union all
      select e.total_cost_usd from copilot_internal.e2b_cost_records e
      where i.resource_type = 'e2b' and e.cost_record_id = k.cost_record_id and e.recorded_at = k.recorded_at
    ) c);
end $$;
comment on function copilot_internal.record_spend(copilot_internal.record_item[], integer, boolean, boolean, numeric) is 'Books costs without a reservation, all or none, each once for its key.';
