-- cost_segments: cut a span into what the rollups have and what they do not: segments to add (sign 1) and to take away
-- again (-1).
-- Each end of the span moves to the nearest quarter hour, and the records make up the difference (grain "record"); from
-- there to the nearest day, by quarters; from there to the nearest month, by days. So no end costs more than half a
-- cell of the next grain. The middle has the coarsest grain at which the two ends still differ.
-- p_coarsest: quarter, day or month; nothing coarser is answered. Answers at most 7 rows, none of them empty.
create or replace function copilot_internal.cost_segments(p_from timestamptz, p_to timestamptz, p_coarsest text)
returns table (grain text, starts_at timestamptz, ends_at timestamptz, sign integer)
language plpgsql immutable strict parallel safe rows 7
set search_path = pg_catalog, pg_temp
-- A day of the rollups has 24 hours.
set timezone = 'UTC'
as $$
declare
  v_next text;
  v_from timestamptz := p_from;
  v_to timestamptz := p_to;
  v_near_from timestamptz;
  v_near_to timestamptz;
begin
  if p_from >= p_to then
    return;
  end if;
  grain := 'record';
  foreach v_next in array array['quarter', 'day', 'month'] loop
    v_near_from := copilot_internal.nearest_cost_grain(v_next, v_from);
    v_near_to := copilot_internal.nearest_cost_grain(v_next, v_to);
    exit when v_near_from = v_near_to;
    if v_from <> v_near_from then
      starts_at := least(v_from, v_near_from);
      ends_at := greatest(v_from, v_near_from);
      sign := case when v_from < v_near_from then 1 else -1 end;
      return next;
    end if;
    if v_to <> v_near_to then
      starts_at := least(v_to, v_near_to);
      ends_at := greatest(v_to, v_near_to);
      sign := case when v_near_to < v_to then 1 else -1 end;
      return next;
    end if;
    v_from := v_near_from;
    v_to := v_near_to;
    grain := v_next;
    exit when v_next = p_coarsest;
  end loop;
  starts_at := v_from;
  ends_at := v_to;
  sign := 1;
  return next;
end $$;
comment on function copilot_internal.cost_segments(timestamptz, timestamptz, text) is 'Cuts a span into what the rollups answer and what only the records can.';
