-- uuid_v7: a UUID of version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then version, variant and random
-- bits.
-- Postgres has its own from version 18 on; Purser runs on 15 and later.
create or replace function copilot_internal.uuid_v7(p_at timestamptz)
returns uuid
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from p_at) * 1000)::bigint) from 3) from 1 for 6),
      -- Turns version 4 (0100) into 7 (0111). Bits are counted from the right within each byte.
      52, 1), 53, 1), 'hex')::uuid
$$;
comment on function copilot_internal.uuid_v7(timestamptz) is 'A UUID version 7 for a moment.';
