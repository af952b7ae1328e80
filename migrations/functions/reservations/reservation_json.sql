-- reservation_json: a reservation as the service reads it. Amounts are text, so that no client turns them into floats.
-- Inlined, as running_limit().
create or replace function copilot_internal.reservation_json(r copilot_internal.reservations)
returns json
language sql stable
as $$
  select pg_catalog.json_build_object(
    'reservation_id', r.reservation_id, 'status', r.status, 'resource_type', r.resource_type,
    'tenant_id', r.tenant_id, 'user_id', r.user_id, 'conversation_id', r.conversation_id, 'path_id', r.path_id, 'labels', r.labels,
    'provider', r.provider, 'model', r.model, 'priced_model', r.priced_model, 'service_tier', r.service_tier, 'region', r.region,
    'tier', r.tier, 'vcpu', r.vcpu::pg_catalog.text, 'memory_mib', r.memory_mib, 'estimate', r.estimate,
    'reserved_usd', r.reserved_usd::pg_catalog.text, 'price_id', r.price_id, 'caps', r.caps, 'on_expiry', r.on_expiry,
    'created_at', r.created_at, 'expires_at', r.expires_at, 'settled_at', r.settled_at, 'release_reason', r.release_reason,
    'cost_usd', r.cost_usd::pg_catalog.text, 'cost_record_id', r.cost_record_id, 'released_usd', r.released_usd::pg_catalog.text, 'late', r.late, 'estimated', r.estimated, 'commit_price_id', r.commit_price_id)
$$;
comment on function copilot_internal.reservation_json(copilot_internal.reservations) is 'A reservation as JSON, amounts as text.';
