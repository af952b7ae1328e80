-- uuid_v7_floor: the least UUIDv7 of a moment.
create or replace function copilot_internal.uuid_v7_floor(p_at timestamptz)
returns uuid
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select (lpad(to_hex(floor(extract(epoch from p_at) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid
$$;
comment on function copilot_internal.uuid_v7_floor(timestamptz) is 'The least UUIDv7 of a moment.';
