-- calculate_e2b_cost: the cost of a sandbox run, with the name and the shape that callers of the first system know.
-- A sandbox is billed on its allocated size for the seconds that it runs. What it used of that (cores, memory, disk)
-- changes nothing, so resource_cost_usd is 0 and nothing is estimated. A tier without a price gets null costs and
-- is_estimated true.
create or replace function copilot_internal.calculate_e2b_cost(
  p_tier text, p_region text, p_execution_time_seconds numeric, p_cpu_core_seconds numeric default null,
  p_memory_gb_seconds numeric default null, p_disk_io_gb numeric default null,
  p_pricing_date timestamptz default copilot_internal.clock_now()
)
returns table (execution_cost_usd numeric, resource_cost_usd numeric, total_cost_usd numeric, is_estimated boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cost record;
begin
  v_cost := copilot_internal.price_e2b_usage(p_tier, p_region, null, null, p_pricing_date, p_execution_time_seconds);
  return query select
    v_cost.total_cost_usd,
    case when v_cost.total_cost_usd is not null then 0::numeric end,
    v_cost.total_cost_usd,
    v_cost.total_cost_usd is null;
end $$;
comment on function copilot_internal.calculate_e2b_cost(text, text, numeric, numeric, numeric, numeric, timestamptz) is 'The cost of a sandbox run of a tier that starts at a date: allocated size x seconds. Used resources are accepted for older callers and change nothing. Null costs, is_estimated true, for a tier without a price.';
