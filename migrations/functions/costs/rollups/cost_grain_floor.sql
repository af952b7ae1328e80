-- cost_grain_floor: the start of the quarter hour, day or month (of UTC) that contains a moment.
create or replace function copilot_internal.cost_grain_floor(p_grain text, p_at timestamptz)
returns timestamptz
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select case p_grain
    -- Counted from an origin before every moment.
    when 'quarter' then date_bin(interval '15 minutes', p_at, timestamptz '4000-01-01 00:00:00+00 BC')
    else date_trunc(p_grain, p_at, 'UTC') end
$$;
comment on function copilot_internal.cost_grain_floor(text, timestamptz) is 'The start of the quarter hour, day or month of the rollups that contains a moment.';
