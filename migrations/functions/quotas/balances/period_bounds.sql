-- period_bounds: the half-open period [starts_at, ends_at) that contains p_at.
-- Hours are hours of UTC. Days, weeks and months are calendar ones in the zone. ends_at is always the next starts_at,
-- so periods neither overlap nor leave a gap when clocks change. A billing day past a month's end means its last day.
create or replace function copilot_internal.period_bounds(
  p_period text, p_time_zone text, p_week_starts_on integer, p_billing_day integer, p_at timestamptz,
  out starts_at timestamptz, out ends_at timestamptz
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_date date;
  v_month date;
begin
  if p_period in ('day', 'week', 'month') then
    v_date := (p_at at time zone p_time_zone)::date;
    -- The date that the clock shows is not always the date whose midnight came last, because clocks can go back over
    -- midnight.
    if p_at >= copilot_internal.local_midnight(v_date + 1, p_time_zone) then
      v_date := v_date + 1;
    elsif p_at < copilot_internal.local_midnight(v_date, p_time_zone) then
      v_date := v_date - 1;
    end if;
  end if;
  case p_period
    when 'total' then
      starts_at := '1970-01-01T00:00:00Z';
      ends_at := '9999-12-31T00:00:00Z';
    when 'hour' then
      starts_at := date_trunc('hour', p_at, 'UTC');
      ends_at := starts_at + interval '1 hour';
    when 'day' then
      starts_at := copilot_internal.local_midnight(v_date, p_time_zone);
      ends_at := copilot_internal.local_midnight(v_date + 1, p_time_zone);
    when 'week' then
      v_date := v_date - ((extract(isodow from v_date)::integer - p_week_starts_on + 7) % 7);
      starts_at := copilot_internal.local_midnight(v_date, p_time_zone);
      ends_at := copilot_internal.local_midnight(v_date + 7, p_time_zone);
    when 'month' then
      v_month := date_trunc('month', v_date::timestamp)::date;
      if v_date < copilot_internal.billing_date(v_month, p_billing_day) then
        v_month := (v_month - interval '1 month')::date;
      end if;
      starts_at := copilot_internal.local_midnight(copilot_internal.billing_date(v_month, p_billing_day), p_time_zone);
      ends_at := copilot_internal.local_midnight(
        copilot_internal.billing_date((v_month + interval '1 month')::date, p_billing_day), p_time_zone);
    else
      raise exception 'period % is not one of hour, day, week, month, total', p_period using errcode = 'invalid_parameter_value';
  end case;
end $$;
comment on function copilot_internal.period_bounds(text, text, integer, integer, timestamptz) is 'The half-open period that contains a moment, in a quota''s time zone.';
