-- local_midnight: the moment at which a date begins in a zone. Where clocks going forward skip midnight, that is the change;
-- where clocks going back make midnight come twice (Azores, Havana), it is the first.
create or replace function copilot_internal.local_midnight(p_date date, p_time_zone text)
returns timestamptz
language sql stable strict
set search_path = pg_catalog, pg_temp
as $$
  -- Postgres takes the second of two midnights. The first is the one by the offset of a day before.
  select case when first.at < m.at and first.at at time zone p_time_zone = m.local then first.at else m.at end
  from (select p_date::timestamp as local, p_date::timestamp at time zone p_time_zone as at) m
  cross join lateral (select m.at - interval '24 hours' as at) before
  cross join lateral (
    select (m.local - (before.at at time zone p_time_zone - before.at at time zone 'UTC')) at time zone 'UTC' as at
  ) first
$$;
comment on function copilot_internal.local_midnight(date, text) is 'The moment at which a date begins in a zone.';
