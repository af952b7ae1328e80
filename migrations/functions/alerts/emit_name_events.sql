-- emit_name_events: write events of one type about names that callers send, once per name and day of UTC. A principal
-- may cause 50 of them a day; then one more event says that there are more, without naming them.
-- Item i: p_principals[i] sent p_names[i], whose form depends on the type, for p_tenants[i] (null for an event without
-- a tenant). p_data[i] is the event's data. Of items with the same name, the first one of the first principal is
-- written.
-- A name that was written before, and a principal over its limit, cost an index look-up and no lock.
-- Locks: (3), counts by principal -> the events in key order. A caller that emits several types does so in the order of
-- their names.
create or replace function copilot_internal.emit_name_events(
  p_type text, p_principals text[], p_tenants text[], p_names text[], p_data jsonb[], p_now timestamptz
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names_max constant integer := 50;
  v_day constant date := (p_now at time zone 'UTC')::date;
begin
  with named as (
    select distinct on (k.once_key) i.principal, i.tenant_id, i.data, k.once_key
    from unnest(p_principals, p_tenants, p_names, p_data) with ordinality i(principal, tenant_id, name, data, nth)
    cross join lateral (select to_char(v_day, 'YYYY-MM-DD') || ' ' || i.name as once_key) k
    order by k.once_key, i.principal, i.nth
  ),
  fresh as materialized (
    select n.*, row_number() over (partition by n.principal order by n.once_key) as nth, count(*) over (partition by n.principal) as names
    from named n
    where not exists (select from copilot_internal.quota_events e where e.type = p_type and e.once_key = n.once_key)
      and not exists (
        select from copilot_internal.name_counts c
        where c.type = p_type and c.principal = n.principal and c.day = v_day and c.names > v_names_max)
  ),
  counted as (
    insert into copilot_internal.name_counts as c (type, principal, day, tenant_id, names)
    select p_type, f.principal, v_day,
           case when count(*) = count(f.tenant_id) and min(f.tenant_id) = max(f.tenant_id) then min(f.tenant_id) end, count(*)
    from fresh f
    group by f.principal
    order by f.principal
    on conflict (type, principal, day) do update
      set names = c.names + excluded.names, tenant_id = case when c.tenant_id = excluded.tenant_id then c.tenant_id end
    returning c.principal, c.tenant_id, c.names
  )
  insert into copilot_internal.quota_events (event_id, type, created_at, tenant_id, once_key, data)
  select copilot_internal.uuid_v7(p_now), p_type, p_now, e.tenant_id, e.once_key, jsonb_strip_nulls(e.data)
  from (
    select f.tenant_id, f.once_key, f.data
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
comment on function copilot_internal.emit_name_events(text, text[], text[], text[], jsonb[], timestamptz) is 'Writes events about names that callers send: once per name and day, 50 names per principal and day.';
