-- missing_price_key: what makes price.missing come once a model and day of UTC.
create or replace function copilot_internal.missing_price_key(p_provider text, p_model text, p_now timestamptz)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select to_char(p_now at time zone 'UTC', 'YYYY-MM-DD') || ' ' || json_build_array(p_provider, p_model)
$$;
comment on function copilot_internal.missing_price_key(text, text, timestamptz) is 'The once_key of price.missing.';
