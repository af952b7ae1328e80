-- tell_missing_prices: the event price.missing of models, or tiers of e2b, that a request or commit named and that have no price: once a
-- tenant, name and day of UTC. All price.missing events are written here.
-- The names are a caller's text, so each principal may have 50 a day told; then one event says that there are more, without naming them.
-- Item i: p_principals[i] asked for p_models[i] of p_providers[i] (null where it named none) for p_tenants[i].
-- A name that is told already, and a principal that has used its 50 up, cost a look-up and no lock.
-- Locks: (3), counts by principal -> the events in key order.
create or replace function copilot_internal.tell_missing_prices(
  p_principals text[], p_tenants text[], p_providers text[], p_models text[], p_now timestamptz default null
)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
-- As in reserve_spend(): look-ups by index, whatever the statistics say.
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
as $$
declare
  v_names_max constant integer := 50;
  v_now constant timestamptz := coalesce(p_now, copilot_internal.clock_now());
  v_day constant date := (v_now at time zone 'UTC')::date;
begin
  with named as (
    select distinct on (k.once_key) m.principal, m.tenant_id, m.provider, m.model, k.once_key
    from unnest(p_principals, p_tenants, p_providers, p_models) m(principal, tenant_id, provider, model)
    cross join lateral (
      select to_char(v_day, 'YYYY-MM-DD') || ' ' || json_build_array(m.tenant_id, m.provider, m.model) as once_key) k
    order by k.once_key, m.principal
  ),
  fresh as materialized (
    select n.*, row_number() over (partition by n.principal order by n.once_key) as nth, count(*) over (partition by n.principal) as names
    from named n
    where not exists (select from copilot_internal.quota_events e where e.type = 'price.missing' and e.once_key = n.once_key)
      and not exists (
        select from copilot_internal.missing_price_counts c
        where c.principal = n.principal and c.day = v_day and c.names > v_names_max)
  ),
  counted as (
    insert into copilot_internal.missing_price_counts as c (principal, day, tenant_id, names)
    select f.principal, v_day, case when count(*) = count(f.tenant_id) and min(f.tenant_id) = max(f.tenant_id) then min(f.tenant_id) end, count(*)
    from fresh f
    group by f.principal
    order by f.principal
    on conflict (principal, day) do update
      set names = c.names + excluded.names, tenant_id = case when c.tenant_id = excluded.tenant_id then c.tenant_id end
    returning c.principal, c.tenant_id, c.names
  )
  insert into copilot_internal.quota_events (event_id, type, created_at, tenant_id, once_key, data)
  select copilot_internal.uuid_v7(v_now), 'price.missing', v_now, e.tenant_id, e.once_key, jsonb_strip_nulls(e.data)
  from (
    select f.tenant_id, f.once_key, jsonb_build_object('provider', f.provider, 'model', f.model) as data
    from counted c
    join fresh f on f.principal = c.principal
    where c.names - f.names + f.nth <= v_names_max
    union all
    select c.tenant_id, to_char(v_day, 'YYYY-MM-DD') || ' ' || json_build_array(c.principal),
           jsonb_build_object('principal', c.principal, 'more_than', v_names_max)
    from counted c
    where c.names > v_names_max
  ) e
  order by e.once_key
  on conflict do nothing;
end $$;
comment on function copilot_internal.tell_missing_prices(text[], text[], text[], text[], timestamptz) is 'Writes price.missing: once a tenant, name and day, 50 names a principal and day.';
