-- emit_stale_prices: write price.stale where the newest price data is older than p_days_max days, once per day of UTC
-- and edition of the data. Answers whether the data is stale.
create or replace function copilot_internal.emit_stale_prices(p_data_at timestamptz, p_days_max integer)
returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := copilot_internal.clock_now();
begin
  if p_data_at >= v_now - make_interval(days => p_days_max) then
    return false;
  end if;
  insert into copilot_internal.quota_events (event_id, type, created_at, once_key, data)
  values (copilot_internal.uuid_v7(v_now), 'price.stale', v_now,
    to_char(v_now at time zone 'UTC', 'YYYY-MM-DD') || ' ' || to_char(p_data_at at time zone 'UTC', 'YYYY-MM-DD'),
    jsonb_build_object('data_at', p_data_at, 'days', floor(extract(epoch from v_now - p_data_at) / 86400)))
  on conflict do nothing;
  return true;
end $$;
comment on function copilot_internal.emit_stale_prices(timestamptz, integer) is 'Writes price.stale for old price data, once a day.';
