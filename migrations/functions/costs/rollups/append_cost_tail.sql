-- append_cost_tail: trigger that appends new lines of cost to the tail, which is still to be rolled up, in the
-- transaction of the lines. Called once per statement.
create or replace function copilot_internal.append_cost_tail()
returns trigger
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_table_name = 'llm_cost_records' then
    insert into copilot_internal.cost_tail (resource_type, tenant_id, provider, model, occurred_at, cost_usd, input_tokens, output_tokens)
    select 'llm', i.tenant_id, i.provider, i.model, i.occurred_at, i.total_cost_usd, i.input_tokens, i.output_tokens from inserted i;
  else
    insert into copilot_internal.cost_tail (resource_type, tenant_id, tier, occurred_at, cost_usd, seconds)
    select 'e2b', i.tenant_id, i.tier, i.occurred_at, i.total_cost_usd, i.execution_time_seconds from inserted i;
  end if;
  return null;
end $$;
comment on function copilot_internal.append_cost_tail() is 'Trigger: appends new lines of cost to the tail, which is still to be rolled up.';
