-- emit_unread_usage: write usage.unread for fields of usage objects that nothing reads, once per provider, field and
-- day of UTC, with the bounds and locks of emit_name_events(). The event has no tenant: Purser's readers lack the
-- field, whoever sent it.
-- Item i: p_principals[i] sent p_fields[i], a JSON pointer, in an object of p_providers[i] (null where none was named).
create or replace function copilot_internal.emit_unread_usage(p_principals text[], p_providers text[], p_fields text[])
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select copilot_internal.emit_name_events('usage.unread', array_agg(u.principal), array_agg(null::text),
      array_agg(json_build_array(u.provider, p.field)::text),
      array_agg(jsonb_build_object('provider', u.provider, 'field', p.field)),
      copilot_internal.clock_now())
  from unnest(p_principals, p_providers, p_fields) u(principal, provider, field)
  cross join lateral (select copilot_internal.pointer_shape(u.field) as field) p
$$;
comment on function copilot_internal.emit_unread_usage(text[], text[], text[]) is 'Writes usage.unread: once per provider, field and day, 50 fields per principal and day.';
