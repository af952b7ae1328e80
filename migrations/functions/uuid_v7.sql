-- uuid_v7: a UUID of version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then version, variant and random bits.
-- Postgres has its own from 18 on; the oldest that Purser runs on is 15.
create or replace function copilot_internal.uuid_v7(p_at timestamptz)
returns uuid
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from p_at) * 1000)::bigint) from 3) from 1 for 6),
      -- The random UUID has version 4 (0100); 7 is 0111. Bits count from the right within each byte.
      52, 1), 53, 1), 'hex')::uuid
$$;
comment on function copilot_internal.uuid_v7(timestamptz) is 'A UUID version 7 of a moment.';
