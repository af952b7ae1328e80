-- cost_segments: cuts a span into what the rollups have and what they don't: its whole months, days and quarters of an hour,
-- each from the coarsest grain that fits, and the edges, of grain "record", that have to be summed up from the records.
-- p_coarsest: quarter, day or month; nothing coarser is answered. At most 7 rows, none of them empty.
create or replace function copilot_internal.cost_segments(p_from timestamptz, p_to timestamptz, p_coarsest text)
returns table (grain text, starts_at timestamptz, ends_at timestamptz)
language plpgsql immutable strict parallel safe rows 7
set search_path = pg_catalog, pg_temp
-- A day of the rollups has 24 hours.
set timezone = 'UTC'
as $$
declare
  v_inner text;
  v_from timestamptz := p_from;
  v_to timestamptz := p_to;
  v_low timestamptz;
  v_high timestamptz;
begin
  if p_from >= p_to then
    return;
  end if;
  grain := 'record';
  foreach v_inner in array array['quarter', 'day', 'month'] loop
    v_low := copilot_internal.cost_grain_floor(v_inner, v_from);
    if v_low < v_from then
      v_low := v_low + case v_inner when 'quarter' then interval '15 minutes' when 'day' then interval '1 day' else interval '1 month' end;
    end if;
    v_high := copilot_internal.cost_grain_floor(v_inner, v_to);
    exit when v_low >= v_high;
    starts_at := v_from;
    ends_at := v_low;
    if starts_at < ends_at then
      return next;
    end if;
    starts_at := v_high;
    ends_at := v_to;
    if starts_at < ends_at then
      return next;
    end if;
    v_from := v_low;
    v_to := v_high;
    grain := v_inner;
    exit when v_inner = p_coarsest;
  end loop;
  starts_at := v_from;
  ends_at := v_to;
  return next;
end $$;
comment on function copilot_internal.cost_segments(timestamptz, timestamptz, text) is 'Cuts a span into what the rollups answer and what only the records do.';
