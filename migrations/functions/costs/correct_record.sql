-- correct_record: replace a line of cost by its full reversal and the real cost (rule 6). Each line is corrected once;
-- its successor can be corrected in turn. Never refused for lack of quota.
--
-- p_measure: tokens, seconds or cost, as in commit_item. With cost the line keeps its quantities. The price is that of
-- the line's own priced_at and priced_model. p_provider, p_model: null for the line's own. p_tenant_id: set if the
-- principal is bound to a tenant. p_silent: the service only counts, so no quota emits an event.
-- The change counts in the periods of the corrected line, and in rows that were opened since and contain its booked_at.
-- Answers { "lines": [the reversal, the successor] } in the form of cost_record_json() | { "unknown": true } | {
-- "unpriced": true }
--   | { "undated": true }: nothing says when the line was priced. It is older than migration 0020 and its reservation
--     was deleted, so it can only be corrected by a cost.
--   | { "successor": the id of the line that replaced this one, null if this line is itself a reversal }: a conflict.
-- A repeat with the same p_reversal_id gets the same answer.
--
-- Locks: (0) shared advisory -> (1) the line's reservation, then the correction by its line -> (2) quota_periods by id
-- -> (3) appends, the head of the audit chain last: a correction is an administrator's change and is written to the
-- audit log.
create or replace function copilot_internal.correct_record(
  p_cost_record_id uuid, p_tenant_id text, p_reversal_id uuid, p_successor_id uuid, p_measure text, p_usage jsonb,
  p_seconds numeric, p_cost_usd numeric, p_provider text, p_model text, p_reason text, p_silent boolean default false
)
returns json
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_now timestamptz;
  v_llm copilot_internal.llm_cost_records;
  v_e2b copilot_internal.e2b_cost_records;
  v_line record;
  -- What a line from before migration 0020 does not say itself.
  v_facts copilot_internal.line_facts;
  v_known copilot_internal.record_corrections;
  v_priced_at timestamptz;
  v_price copilot_internal.model_pricing;
  v_cost record;
  v_cost_usd numeric;
  v_price_id bigint;
  v_overrun boolean;
  v_ids bigint[];
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'correct_record() runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
  end if;
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  v_now := copilot_internal.clock_now();
  perform copilot_internal.ensure_cost_partitions(v_now);

  select c.* into v_llm from copilot_internal.llm_cost_records c where c.cost_record_id = p_cost_record_id;
  select c.* into v_e2b from copilot_internal.e2b_cost_records c where c.cost_record_id = p_cost_record_id;
  select 'llm'::copilot_internal.resource_type as resource_type, v_llm.reservation_id, v_llm.tenant_id, v_llm.user_id,
         v_llm.total_cost_usd, v_llm.corrects, v_llm.quota_period_ids, v_llm.occurred_at, v_llm.booked_at, v_llm.recorded_at,
         v_llm.priced_at, v_llm.reserved_usd
    into v_line;
  if v_llm.cost_record_id is null then
    select 'e2b'::copilot_internal.resource_type as resource_type, v_e2b.reservation_id, v_e2b.tenant_id, v_e2b.user_id,
           v_e2b.total_cost_usd, v_e2b.corrects, v_e2b.quota_period_ids, v_e2b.occurred_at, v_e2b.booked_at, v_e2b.recorded_at,
           v_e2b.priced_at, v_e2b.reserved_usd
      into v_line;
  end if;
  if v_line.recorded_at is null or v_line.tenant_id <> p_tenant_id then
    return json_build_object('unknown', true);
  end if;
  if exists (select from copilot_internal.record_corrections k where k.corrects = v_line.corrects and k.reversal_id = p_cost_record_id) then
    return json_build_object('successor', null);
  end if;

  -- Lock (1): the commit of a charged lapse corrects the same line.
  perform from copilot_internal.reservations r where r.reservation_id = v_line.reservation_id for update;
  v_priced_at := v_line.priced_at;
  if v_line.priced_at is null and v_line.reservation_id is null then
    v_priced_at := v_line.occurred_at;
  elsif v_line.priced_at is null then
    perform copilot_internal.copy_line_facts(v_line.resource_type, array[p_cost_record_id]);
    select f.* into v_facts from copilot_internal.line_facts f where f.cost_record_id = p_cost_record_id;
    v_priced_at := v_facts.priced_at;
    v_line.reserved_usd := v_facts.reserved_usd;
    v_llm.priced_model := v_facts.priced_model;
  end if;
  if v_priced_at is null and p_measure <> 'cost' then
    return json_build_object('undated', true);
  end if;
  if (coalesce(p_provider, v_llm.provider), coalesce(p_model, v_llm.model)) is distinct from (v_llm.provider, v_llm.model) then
    -- Another model answered, so the card that priced the line does not apply.
    v_llm.provider := coalesce(p_provider, v_llm.provider);
    v_llm.model := coalesce(p_model, v_llm.model);
    v_llm.priced_model := null;
    v_llm.price_id := null;
  end if;
  if p_measure = 'cost' then
    v_cost_usd := p_cost_usd;
  elsif p_measure = 'tokens' then
    v_price := copilot_internal.find_line_card(v_llm.provider, v_llm.model, v_llm.priced_model, v_llm.price_id, v_priced_at);
    select * into v_cost from copilot_internal.price_llm_usage(v_price, p_usage, v_llm.service_tier, v_llm.region);
    v_cost_usd := v_cost.total_cost_usd;
    v_price_id := v_price.price_id;
    v_llm.priced_model := v_price.model;
  else
    select * into v_cost
      from copilot_internal.price_e2b_usage(v_e2b.tier, v_e2b.region, v_e2b.vcpu, v_e2b.memory_mib, v_priced_at, p_seconds);
    v_cost_usd := v_cost.total_cost_usd;
    v_price_id := v_cost.price_id;
  end if;
  if v_cost_usd is null then
    return json_build_object('unpriced', true);
  end if;

  insert into copilot_internal.record_corrections (corrects, reversal_id, successor_id, corrected_at, reason)
    values (p_cost_record_id, p_reversal_id, p_successor_id, v_now, p_reason)
    on conflict do nothing;
  if not found then
    select k.* into v_known from copilot_internal.record_corrections k where k.corrects = p_cost_record_id;
    if v_known.reversal_id = p_reversal_id then
      return json_build_object('lines', json_build_array(
        copilot_internal.cost_record_json(p_reversal_id), copilot_internal.cost_record_json(p_successor_id)));
    end if;
    return json_build_object('successor', v_known.successor_id);
  end if;

  v_ids := v_line.quota_period_ids || copilot_internal.late_period_ids(
    v_line.resource_type, v_line.tenant_id, v_line.user_id, v_line.booked_at, v_line.recorded_at, v_line.quota_period_ids);
  perform copilot_internal.change_balances(
    v_ids, array_fill(v_cost_usd - v_line.total_cost_usd, array[cardinality(v_ids)]),
    array_fill(0::numeric, array[cardinality(v_ids)]), 'record', v_now, p_silent);
  perform copilot_internal.reverse_record(
    v_line.resource_type, p_cost_record_id, v_line.recorded_at, p_reversal_id, v_ids, v_now);

  v_overrun := coalesce(v_cost_usd > v_line.reserved_usd, false);
  if v_line.resource_type = 'llm' then
    if p_measure = 'tokens' then
      v_llm.usage := p_usage;
      v_llm.input_tokens := (p_usage -> 'input_tokens')::bigint;
      v_llm.output_tokens := (p_usage -> 'output_tokens')::bigint;
      v_llm.input_cost_usd := v_cost.input_cost_usd;
      v_llm.output_cost_usd := v_cost.output_cost_usd;
    else
      v_llm.input_cost_usd := null;
      v_llm.output_cost_usd := null;
    end if;
    insert into copilot_internal.llm_cost_records (
      cost_record_id, reservation_id, tenant_id, user_id, conversation_id, path_id, labels, provider, model, service_tier, region, usage,
      input_tokens, output_tokens, input_cost_usd, output_cost_usd, total_cost_usd, price_id, late, overrun, corrects,
      cached, streaming, duration_ms, success, call, quota_period_ids, occurred_at, booked_at, recorded_at,
      priced_at, priced_model, reserved_usd)
    values (
      p_successor_id, v_llm.reservation_id, v_llm.tenant_id, v_llm.user_id, v_llm.conversation_id, v_llm.path_id, v_llm.labels,
      v_llm.provider, v_llm.model, v_llm.service_tier, v_llm.region, v_llm.usage,
      v_llm.input_tokens, v_llm.output_tokens, v_llm.input_cost_usd, v_llm.output_cost_usd, v_cost_usd, v_price_id, v_llm.late, v_overrun,
      p_cost_record_id, v_llm.cached, v_llm.streaming, v_llm.duration_ms, v_llm.success, v_llm.call,
      v_ids, v_llm.occurred_at, v_llm.booked_at, v_now, v_priced_at, v_llm.priced_model, v_line.reserved_usd);
  else
    if p_measure = 'seconds' then
      v_e2b.usage := jsonb_build_object('seconds', p_seconds);
      v_e2b.execution_time_seconds := p_seconds;
    end if;
    insert into copilot_internal.e2b_cost_records (
      cost_record_id, reservation_id, execution_context_id, tenant_id, user_id, conversation_id, path_id, labels, sandbox_id, tier, region,
      vcpu, memory_mib, usage, execution_time_seconds, cpu_core_seconds, memory_gb_seconds, disk_io_gb, network_io_gb, total_cost_usd,
      price_id, late, overrun, corrects, sandbox_status, operation_type, success, call, execution,
      quota_period_ids, occurred_at, booked_at, recorded_at, priced_at, reserved_usd)
    values (
      p_successor_id, v_e2b.reservation_id, v_e2b.execution_context_id, v_e2b.tenant_id, v_e2b.user_id, v_e2b.conversation_id,
      v_e2b.path_id, v_e2b.labels, v_e2b.sandbox_id, v_e2b.tier, v_e2b.region, v_e2b.vcpu, v_e2b.memory_mib, v_e2b.usage,
      v_e2b.execution_time_seconds, v_e2b.cpu_core_seconds, v_e2b.memory_gb_seconds, v_e2b.disk_io_gb, v_e2b.network_io_gb, v_cost_usd,
      v_price_id, v_e2b.late, v_overrun, p_cost_record_id, v_e2b.sandbox_status, v_e2b.operation_type, v_e2b.success, v_e2b.call,
      v_e2b.execution, v_ids, v_e2b.occurred_at, v_e2b.booked_at, v_now, v_priced_at, v_line.reserved_usd);
  end if;
  -- For the charge of a lapse: a commit that comes later corrects the successor. A committed reservation stays as it
  -- was answered.
  update copilot_internal.reservations r
    set cost_record_id = p_successor_id, cost_usd = v_cost_usd, estimated = false
    where r.reservation_id = v_line.reservation_id and r.status = 'expired';
  perform copilot_internal.write_audit('cost_record.correct', 'cost_record:' || p_cost_record_id,
    copilot_internal.cost_record_json(p_cost_record_id)::jsonb, copilot_internal.cost_record_json(p_successor_id)::jsonb);
  return json_build_object('lines', json_build_array(
    copilot_internal.cost_record_json(p_reversal_id), copilot_internal.cost_record_json(p_successor_id)));
end $$;
comment on function copilot_internal.correct_record(uuid, text, uuid, uuid, text, jsonb, numeric, numeric, text, text, text, boolean) is 'Replaces a line of cost by its reversal and the real cost, once.';
