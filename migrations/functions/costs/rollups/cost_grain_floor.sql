-- cost_grain_floor: where the quarter of an hour, the day or the month (of UTC) begins that contains a moment.
create or replace function copilot_internal.cost_grain_floor(p_grain text, p_at timestamptz)
returns timestamptz
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select case p_grain
    -- Counted from before any moment that can be said.
    when 'quarter' then date_bin(interval '15 minutes', p_at, timestamptz '4000-01-01 00:00:00+00 BC')
    else date_trunc(p_grain, p_at, 'UTC') end
$$;
comment on function copilot_internal.cost_grain_floor(text, timestamptz) is 'Where the quarter, day or month of the rollups begins that contains a moment.';
