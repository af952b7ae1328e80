-- commit_spend: book what each reservation really cost and give its hold back, as if the items came one after the
-- other. The first commit of a reservation wins, an equal one gets the same answer, a different one is a conflict.
--
-- p_items: an array of commit_item. A commit is never refused for lack of quota (rule 4). After expiry, release or the
-- period's end, or above the hold, the money is already spent, so it is booked and marked. Tokens are priced at the
-- reservation's created_at for the model that answered, sandboxes second by second (rule 9). Without a price the
-- reserved amount is booked and marked estimated (rule 10). With the measure reserved this is done in any case: the
-- usage is not known, or could not be read. Then it is in unreadable_usage, which a model call's line keeps.
-- p_silent: the service only counts, so no quota emits an event. Bound: 500 items a call.
-- Answers { now, contended, balances, outcomes }. contended: as is_contended() answers. balances: as change_balances()
-- answers. outcomes[i] is one of
--   { "committed": the reservation, "quota_period_ids" } | { "conflict": status } | { "unknown": true }
--   | { "unfit": "tokens" | "seconds" | "model" }: the measure does not fit the resource type, or no model or no
--     provider is known.
--
-- Locks: (0) shared advisory -> (1) reservations by id -> (2) quota_periods by id -> (3) appends.
create or replace function copilot_internal.commit_spend(p_items json, p_silent boolean default false)
returns json
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
-- Short, so that time is left for the other items, whose locks are free.
set lock_timeout = '1000ms'
as $$
declare
  v_now timestamptz;
  v_contended boolean;
  v_items copilot_internal.commit_item[];
  v_ids uuid[];
  v_done copilot_internal.settlement[];
  v_balances json;
  v_charged record;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'commit_spend() runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
  end if;
  v_items := array(select i from json_populate_recordset(null::copilot_internal.commit_item, p_items) i);
  if cardinality(v_items) not between 1 and 500 then
    raise exception 'a batch has 1 to 500 items' using errcode = 'program_limit_exceeded';
  end if;
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  v_contended := copilot_internal.is_contended(8102116101116);
  v_now := copilot_internal.clock_now();
  perform copilot_internal.ensure_cost_partitions(v_now);

  v_ids := array(select distinct i.reservation_id from unnest(v_items) i order by i.reservation_id);
  -- Lock (1). There is no filter on status: a row whose status changes during the wait would disappear from the result.
  -- A reservation that does not exist now is unknown, even if it is inserted while this runs.
  v_ids := array(
    select r.reservation_id from unnest(v_ids) u(reservation_id)
    cross join lateral (
      select r.reservation_id from copilot_internal.reservations r where r.reservation_id = u.reservation_id
      for update
    ) r);

  -- For each reservation, the first item that can be booked. An item that is unfit or of another tenant is skipped.
  v_done := array(
    select distinct on (r.reservation_id) row(
      i.n, i.item, r.reservation_id,
      coalesce(i.cost_usd, (llm.cost).total_cost_usd, (e2b.cost).total_cost_usd, r.reserved_usd),
      (llm.cost).input_cost_usd, (llm.cost).output_cost_usd,
      case i.measure when 'tokens' then (card.price).price_id when 'seconds' then (e2b.cost).price_id end,
      coalesce(i.cost_usd, (llm.cost).total_cost_usd, (e2b.cost).total_cost_usd) is null,
      l.late,
      case when r.status = 'reserved' then r.reserved_usd else 0 end,
      case when r.cost_record_id is not null then r.cost_usd end,
      r.quota_period_ids || case when l.late
        then copilot_internal.late_period_ids(r.resource_type, r.tenant_id, r.user_id, r.granted_at, r.granted_at, r.quota_period_ids) end,
      coalesce((card.price).model, named.priced_model),
      case when i.measure = 'reserved' then case when i.unreadable_usage is null then 'usage_unknown' else 'usage_unreadable' end
        when coalesce(i.cost_usd, (llm.cost).total_cost_usd, (e2b.cost).total_cost_usd) is null then 'unpriced' end
    )::copilot_internal.settlement
    from (
      select u.n, u.item, (u.item).*
      from (select g.n, v_items[g.n] as item from generate_subscripts(v_items, 1) g(n)) u
    ) i
    cross join lateral copilot_internal.find_reservation(i.reservation_id) r
    cross join lateral (select r.status <> 'reserved' or v_now >= least(r.expires_at, r.periods_end_at) as late) l
    -- The model that priced the hold, unless another one answered. The alias itself may mean another model by now.
    cross join lateral (
      select coalesce(i.provider, r.provider) as provider, coalesce(i.model, r.model) as model,
             case when coalesce(i.provider, r.provider) = r.provider and coalesce(i.model, r.model) = r.model then r.priced_model end as priced_model
    ) named
    -- Called in the select list, because in the from list each call would make a table of one row, even for other
    -- measures.
    left join lateral (
      select copilot_internal.find_model_card(named.provider,
        coalesce(named.priced_model, copilot_internal.resolve_model(named.provider, named.model, r.created_at)), r.created_at) as price
      where i.measure = 'tokens'
      offset 0
    ) card on true
    left join lateral (
      select copilot_internal.price_llm_usage(card.price, i.usage, r.service_tier, r.region) as cost
      where i.measure = 'tokens'
      offset 0
    ) llm on true
    left join lateral (
      select copilot_internal.price_e2b_usage(r.tier, r.region, r.vcpu, r.memory_mib, r.created_at, i.seconds) as cost
      where i.measure = 'seconds'
      offset 0
    ) e2b on true
    where r.status <> 'committed' and r.reservation_id = any (v_ids) and (i.tenant_id is null or r.tenant_id = i.tenant_id)
      and (i.measure in ('cost', 'reserved') or i.measure = case r.resource_type when 'llm' then 'tokens' else 'seconds' end)
      and (i.measure <> 'tokens' or coalesce(i.model, r.model) is not null and coalesce(i.provider, r.provider) is not null)
      -- Only a model's usage can be unreadable.
      and (i.unreadable_usage is null or r.resource_type = 'llm')
    order by r.reservation_id, i.n);

  -- The balances of repeats do not change, but are answered too.
  select c.balances into v_balances
    from (
      select array_agg(p.id) as ids, array_agg(p.spent) as spent, array_agg(p.reserved) as reserved
      from (
        select p.id, d.cost_usd - coalesce(d.charged_usd, 0) as spent,
               -- Only the reservation's own rows hold its amount; a row opened since (rule 6) does not.
               case when p.id = any (r.quota_period_ids) then -d.held_usd else 0 end as reserved
        from unnest(v_done) d
        cross join lateral copilot_internal.find_reservation(d.reservation_id) r
        cross join lateral unnest(d.quota_period_ids) p(id)
        union all
        select p.id, 0, 0
        from unnest(v_items) i
        cross join lateral copilot_internal.find_reservation(i.reservation_id) r
        cross join lateral unnest(r.quota_period_ids) p(id)
        where r.status = 'committed'
      ) p
    ) all_deltas
    cross join lateral copilot_internal.change_balances(all_deltas.ids, all_deltas.spent, all_deltas.reserved, 'commit', v_now, p_silent) c;

  -- A charged lapse is corrected by two lines: its reversal here, and the real cost below.
  for v_charged in
    select r.resource_type, r.cost_record_id, r.settled_at, (d.item).reversal_id, (d.item).cost_record_id as successor_id, d.quota_period_ids
    from unnest(v_done) d
    cross join lateral copilot_internal.find_reservation(d.reservation_id) r
    where d.charged_usd is not null
    order by r.reservation_id
  loop
    insert into copilot_internal.record_corrections (corrects, reversal_id, successor_id, corrected_at, reason)
      values (v_charged.cost_record_id, v_charged.reversal_id, v_charged.successor_id, v_now, 'committed after its lapse had been charged');
    perform copilot_internal.reverse_record(v_charged.resource_type, v_charged.cost_record_id, v_charged.settled_at,
      v_charged.reversal_id, v_charged.quota_period_ids, v_now);
  end loop;

  insert into copilot_internal.llm_cost_records (
    cost_record_id, reservation_id, tenant_id, user_id, conversation_id, path_id, labels, provider, model, service_tier, region, usage,
    input_tokens, output_tokens, input_cost_usd, output_cost_usd, total_cost_usd, price_id, estimated, late, overrun, corrects,
    cached, streaming, duration_ms, success, call, quota_period_ids, occurred_at, booked_at, recorded_at,
    priced_at, priced_model, reserved_usd, estimate_reason, unreadable_usage)
  select i.cost_record_id, r.reservation_id, r.tenant_id, r.user_id, r.conversation_id, r.path_id, r.labels,
         coalesce(i.provider, r.provider), coalesce(i.model, r.model),
         copilot_internal.priced_tier(r.service_tier, i.usage ->> 'service_tier'),
         r.region,
         coalesce(i.usage, '{}'), (i.usage -> 'input_tokens')::bigint, (i.usage -> 'output_tokens')::bigint,
         d.input_cost_usd, d.output_cost_usd, d.cost_usd, d.price_id, d.estimated, d.late, d.cost_usd > r.reserved_usd, r.cost_record_id,
         (i.call -> 'cached')::boolean, (i.call -> 'streaming')::boolean, c.duration_ms, i.call ->> 'outcome' = 'success', i.call,
         d.quota_period_ids, r.granted_at, r.granted_at, v_now,
         r.created_at, d.priced_model, r.reserved_usd, d.estimate_reason, i.unreadable_usage
  from unnest(v_done) d
  cross join lateral copilot_internal.find_reservation(d.reservation_id) r
  cross join lateral (select (d.item).*) i
  cross join lateral (
    select extract(epoch from (i.call ->> 'ended_at')::timestamptz - (i.call ->> 'started_at')::timestamptz) * 1000 as duration_ms) c
  where r.resource_type = 'llm';

  insert into copilot_internal.e2b_cost_records (
    cost_record_id, reservation_id, tenant_id, user_id, conversation_id, path_id, labels, sandbox_id, tier, region, vcpu, memory_mib, usage,
    execution_time_seconds, cpu_core_seconds, memory_gb_seconds, disk_io_gb, network_io_gb, total_cost_usd, price_id, estimated, late,
    overrun, corrects, success, call, execution, quota_period_ids, occurred_at, booked_at, recorded_at,
    priced_at, reserved_usd, estimate_reason)
  select i.cost_record_id, r.reservation_id, r.tenant_id, r.user_id, r.conversation_id, r.path_id, r.labels,
         i.sandbox_id, r.tier, r.region, r.vcpu, r.memory_mib, jsonb_strip_nulls(jsonb_build_object('seconds', i.seconds)), i.seconds,
         (i.resources -> 'cpu_core_seconds')::numeric, (i.resources -> 'memory_gb_seconds')::numeric,
         (i.resources -> 'disk_io_gb')::numeric, (i.resources -> 'network_io_gb')::numeric,
         d.cost_usd, d.price_id, d.estimated, d.late, d.cost_usd > r.reserved_usd, r.cost_record_id,
         i.call ->> 'outcome' = 'success', i.call, i.execution, d.quota_period_ids, r.granted_at, r.granted_at, v_now,
         r.created_at, r.reserved_usd, d.estimate_reason
  from unnest(v_done) d
  cross join lateral copilot_internal.find_reservation(d.reservation_id) r
  cross join lateral (select (d.item).*) i
  where r.resource_type = 'e2b';

  update copilot_internal.reservations r
    set status = 'committed', settled_at = v_now, commit_hash = (d.item).commit_hash, commit_price_id = d.price_id, cost_usd = d.cost_usd,
        released_usd = greatest(d.held_usd - d.cost_usd, 0), cost_record_id = (d.item).cost_record_id, late = d.late, estimated = d.estimated
    from unnest(v_done) d
    where r.reservation_id = d.reservation_id;
  if exists (
    select from unnest(v_done) d
    cross join lateral copilot_internal.find_reservation(d.reservation_id) r
    where d.late or d.estimated or d.cost_usd > r.reserved_usd
  ) then
    perform copilot_internal.emit_commit_events(v_done, v_now);
  end if;

  -- The answers are read from the stored rows, so that a repeat gets the answer of the first commit.
  return (
    with answered as (
      select i.ordinality, i.measure, i.commit_hash, r as reservation, r.reservation_id, r.status, r.resource_type, r.commit_hash as stored_hash,
             coalesce(d.quota_period_ids, r.quota_period_ids) as quota_period_ids
      from unnest(v_items) with ordinality i
      left join lateral copilot_internal.find_reservation(i.reservation_id) r on r.reservation_id = any (v_ids) and (i.tenant_id is null or r.tenant_id = i.tenant_id)
      left join unnest(v_done) d on d.n = i.ordinality
    )
    select json_build_object(
      'now', v_now,
      'contended', v_contended,
      'balances', v_balances,
      'outcomes', json_agg(case
          when a.reservation_id is null then json_build_object('unknown', true)
          when copilot_internal.same_request(a.stored_hash, a.commit_hash) then json_build_object(
            'committed', copilot_internal.reservation_json(a.reservation), 'quota_period_ids', a.quota_period_ids)
          when a.status = 'committed' then json_build_object('conflict', a.status)
          when a.measure = 'tokens' and a.resource_type = 'llm' then json_build_object('unfit', 'model')
          else json_build_object('unfit', case a.measure when 'reserved' then 'tokens' else a.measure end)
        end order by a.ordinality))
    from answered a);
end $$;
comment on function copilot_internal.commit_spend(json, boolean) is 'Books real costs and gives holds back; answers per item.';
