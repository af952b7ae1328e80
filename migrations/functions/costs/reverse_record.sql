-- reverse_record: book the full reversal of a line of cost, quantities too, with the same occurred_at and booked_at.
-- p_recorded_at is the line's, or a moment before it (the charge of a lapse may have been corrected since); earlier
-- partitions are not read. p_quota_period_ids: the periods that the reversal names.
create or replace function copilot_internal.reverse_record(
  p_resource_type copilot_internal.resource_type, p_cost_record_id uuid, p_recorded_at timestamptz, p_reversal_id uuid,
  p_quota_period_ids bigint[], p_now timestamptz
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_resource_type = 'llm' then
    insert into copilot_internal.llm_cost_records (
      cost_record_id, reservation_id, tenant_id, user_id, conversation_id, path_id, labels, provider, model, service_tier, region, usage,
      input_tokens, output_tokens, input_cost_usd, output_cost_usd, total_cost_usd, price_id, estimated, late, overrun, corrects,
      cached, streaming, quota_period_ids, occurred_at, booked_at, recorded_at, priced_at, priced_model, reserved_usd, estimate_reason)
    select p_reversal_id, reservation_id, tenant_id, user_id, conversation_id, path_id, labels, provider, model, service_tier, region,
           copilot_internal.negate_usage(usage), -input_tokens, -output_tokens, -input_cost_usd, -output_cost_usd, -total_cost_usd,
           price_id, estimated, late, overrun, cost_record_id, cached, streaming, p_quota_period_ids, occurred_at, booked_at, p_now,
           priced_at, priced_model, reserved_usd, estimate_reason
    from copilot_internal.llm_cost_records
    where cost_record_id = p_cost_record_id and recorded_at >= p_recorded_at;
  else
    insert into copilot_internal.e2b_cost_records (
      cost_record_id, reservation_id, execution_context_id, tenant_id, user_id, conversation_id, path_id, labels, sandbox_id, tier, region,
      vcpu, memory_mib, usage, execution_time_seconds, cpu_core_seconds, memory_gb_seconds, disk_io_gb, network_io_gb, total_cost_usd,
      price_id, estimated, late, overrun, corrects, sandbox_status, operation_type, quota_period_ids, occurred_at, booked_at, recorded_at,
      priced_at, reserved_usd, estimate_reason)
    select p_reversal_id, reservation_id, execution_context_id, tenant_id, user_id, conversation_id, path_id, labels, sandbox_id, tier, region,
           vcpu, memory_mib, copilot_internal.negate_usage(usage), -execution_time_seconds, -cpu_core_seconds, -memory_gb_seconds,
           -disk_io_gb, -network_io_gb, -total_cost_usd, price_id, estimated, late, overrun, cost_record_id, sandbox_status, operation_type,
           p_quota_period_ids, occurred_at, booked_at, p_now, priced_at, reserved_usd, estimate_reason
    from copilot_internal.e2b_cost_records
    where cost_record_id = p_cost_record_id and recorded_at >= p_recorded_at;
  end if;
  if not found then
    raise exception 'cost record % is not there to be reversed', p_cost_record_id using errcode = 'no_data_found';
  end if;
end $$;
comment on function copilot_internal.reverse_record(copilot_internal.resource_type, uuid, timestamptz, uuid, bigint[], timestamptz) is 'Books the full reversal of a line of cost.';
