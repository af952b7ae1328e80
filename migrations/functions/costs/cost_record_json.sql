-- cost_record_json: a line of cost of either type as the service reads it. Numerics, usage and unreadable_usage are
-- text, so that no client turns them into floats. Null if there is none. Cost: one index look-up in each partition.
create or replace function copilot_internal.cost_record_json(p_cost_record_id uuid)
returns json
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    'cost_record_id', c.cost_record_id, 'reservation_id', c.reservation_id, 'resource_type', c.resource_type,
    'tenant_id', c.tenant_id, 'user_id', c.user_id, 'conversation_id', c.conversation_id, 'path_id', c.path_id, 'labels', c.labels,
    'provider', c.provider, 'model', c.model, 'tier', c.tier, 'usage', c.usage::text, 'cost_usd', c.total_cost_usd::text,
    'price_id', c.price_id::text, 'occurred_at', c.occurred_at, 'recorded_at', c.recorded_at,
    'late', c.late, 'overrun', c.overrun, 'estimated', c.estimated, 'corrects', c.corrects,
    'estimate_reason', c.estimate_reason, 'unreadable_usage', c.unreadable_usage::text)
  from (
    select cost_record_id, reservation_id, 'llm' as resource_type, tenant_id, user_id, conversation_id, path_id, labels,
           provider, model, null as tier, usage, total_cost_usd, price_id, occurred_at, recorded_at, late, overrun, estimated, corrects,
           estimate_reason, unreadable_usage
    from copilot_internal.llm_cost_records where cost_record_id = p_cost_record_id
    union all
    select cost_record_id, reservation_id, 'e2b', tenant_id, user_id, conversation_id, path_id, labels,
           null, null, tier, usage, total_cost_usd, price_id, occurred_at, recorded_at, late, overrun, estimated, corrects,
           estimate_reason, null
    from copilot_internal.e2b_cost_records where cost_record_id = p_cost_record_id
  ) c
$$;
comment on function copilot_internal.cost_record_json(uuid) is 'A line of cost as JSON, numerics as text.';
