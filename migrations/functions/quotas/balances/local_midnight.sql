-- local_midnight: the moment at which a date begins in a time zone. If clocks that go forward skip midnight, it is the
-- moment of the change. If clocks that go back make midnight come twice (Azores, Havana), it is the first.
create or replace function copilot_internal.local_midnight(p_date date, p_time_zone text)
returns timestamptz
language plpgsql stable strict
-- In this language: a new day asks eight times for each daily quota, and a function of SQL starts a query each time.
set search_path = pg_catalog, pg_temp
as $$
declare
  v_local timestamp := p_date;
  -- Postgres takes the second of two midnights. The first one has the offset of the day before.
  v_second timestamptz := v_local at time zone p_time_zone;
  v_before timestamptz := v_second - interval '24 hours';
  v_first timestamptz := (v_local - (v_before at time zone p_time_zone - v_before at time zone 'UTC')) at time zone 'UTC';
begin
  return case when v_first < v_second and v_first at time zone p_time_zone = v_local then v_first else v_second end;
end $$;
comment on function copilot_internal.local_midnight(date, text) is 'The moment at which a date begins in a zone.';
