-- nearest_cost_grain: the start of a quarter hour, day or month (of UTC) that is nearest to a moment.
create or replace function copilot_internal.nearest_cost_grain(p_grain text, p_at timestamptz)
returns timestamptz
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
-- A day of the rollups has 24 hours.
set timezone = 'UTC'
as $$
  select case when p_at - f.floor < f.ceiling - p_at then f.floor else f.ceiling end
  from (
    select l.floor, l.floor + case p_grain when 'quarter' then interval '15 minutes' when 'day' then interval '1 day' else interval '1 month' end as ceiling
    from (select copilot_internal.cost_grain_floor(p_grain, p_at) as floor) l
  ) f
$$;
comment on function copilot_internal.nearest_cost_grain(text, timestamptz) is 'The start of a cell of the rollups that is nearest to a moment.';
