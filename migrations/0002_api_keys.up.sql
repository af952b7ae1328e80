-- API keys: who may call. A key is shown once; only its SHA-256 is kept.
create table copilot_internal.api_keys (
  key_id uuid primary key,
  name text not null check (length(name) between 1 and 200),
  role text not null check (role in ('admin', 'service', 'viewer')),
  tenant_id text check (length(tenant_id) between 1 and 200),
  -- A rotated key has two valid hashes for a while, so hashes are rows of their own.
  prefix text not null,
  created_at timestamptz not null,
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  constraint api_keys_admin_is_unbound check (role <> 'admin' or tenant_id is null)
);
comment on table copilot_internal.api_keys is 'One API key: a principal with a role, and perhaps bound to a tenant.';

create table copilot_internal.api_key_hashes (
  key_hash bytea primary key check (length(key_hash) = 32),
  key_id uuid not null references copilot_internal.api_keys (key_id),
  valid_until timestamptz
);
comment on table copilot_internal.api_key_hashes is 'SHA-256 of each secret of a key: one, or two while a rotation overlaps.';
create index api_key_hashes_key_id on copilot_internal.api_key_hashes (key_id);

do $$
begin
  if to_regclass('copilot_internal.api_keys') is null or to_regclass('copilot_internal.api_key_hashes') is null then
    raise exception 'migration 0002 did not make its tables';
  end if;
end $$;
