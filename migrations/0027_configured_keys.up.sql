-- Which keys came from the setting PURSER_ADMIN_KEY: changing it revokes the one before.
alter table copilot_internal.api_keys add column configured_at timestamptz;
comment on column copilot_internal.api_keys.configured_at is 'When it was first the value of PURSER_ADMIN_KEY; null for a key that never was.';
-- Of a key from the setting four characters are shown, of a made one twelve.
update copilot_internal.api_keys set configured_at = created_at
where name = 'bootstrap admin' and role = 'admin' and length(prefix) = 4;

do $$
begin
  if not exists (
    select from pg_attribute where attrelid = 'copilot_internal.api_keys'::regclass and attname = 'configured_at') then
    raise exception 'migration 0027 did not make its column';
  end if;
end $$;
