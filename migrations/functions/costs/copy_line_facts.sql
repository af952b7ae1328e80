-- copy_line_facts: copy into line_facts what the reservations of lines from before migration 0020 say: when and by
-- which model they were priced, what was held, and why they are estimates. Lines whose reservation is gone are skipped,
-- and so are those that were copied before.
create or replace function copilot_internal.copy_line_facts(
  p_resource_type copilot_internal.resource_type, p_ids uuid[]
)
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into copilot_internal.line_facts (cost_record_id, priced_at, priced_model, reserved_usd, estimate_reason)
  select l.cost_record_id, r.created_at,
         coalesce(
           (select m.model from copilot_internal.model_pricing m where m.price_id = l.price_id),
           case when l.model = r.model
             then coalesce(r.priced_model, (select m.model from copilot_internal.model_pricing m where m.price_id = r.price_id)) end),
         r.reserved_usd,
         case when l.estimated then
           case when r.status = 'committed' and r.cost_record_id = l.cost_record_id then 'unpriced' else 'lapse' end
         end::copilot_internal.estimate_reason
  from unnest(p_ids) u(cost_record_id)
  cross join lateral (
    select c.cost_record_id, c.reservation_id, c.model, c.price_id, c.estimated
    from copilot_internal.llm_cost_records c where p_resource_type = 'llm' and c.cost_record_id = u.cost_record_id
    union all
    select c.cost_record_id, c.reservation_id, null, null, c.estimated
    from copilot_internal.e2b_cost_records c where p_resource_type = 'e2b' and c.cost_record_id = u.cost_record_id
  ) l
  cross join lateral copilot_internal.find_reservation(l.reservation_id) r
  on conflict do nothing
$$;
comment on function copilot_internal.copy_line_facts(copilot_internal.resource_type, uuid[]) is 'Copies into line_facts what reservations say about the price of old lines.';
