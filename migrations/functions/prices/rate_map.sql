-- rate_map: rates in stored form: every value a decimal as a JSON string without trailing zeros, so that equal rates
-- are equal JSON. Null values are left out.
create or replace function copilot_internal.rate_map(p_rates jsonb)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(jsonb_object_agg(e.key, trim_scale((e.value #>> '{}')::numeric)::text), '{}')
    from jsonb_each(coalesce(nullif(p_rates, 'null'), '{}')) as e
    where e.value <> 'null'
  );
end $$;
comment on function copilot_internal.rate_map(jsonb) is 'Rates in stored form: every value a plain decimal as a JSON string without trailing zeros; null values are left out.';
