-- same_request: whether two hashes belong to one request: its meaning or its exact words are the same.
-- A hash has 1 byte of version (2), 16 bytes of the meaning and 32 bytes of the words. A hash of version 1 has only the
-- 32 bytes of the words: rows of the release before have it, and its instances still send it. So the last 32 bytes are
-- those of the words in any version.
-- Inlined, as running_limit(), because a commit calls it for every item.
create or replace function copilot_internal.same_request(p_stored bytea, p_sent bytea)
returns boolean
language sql immutable parallel safe
as $$
  select pg_catalog.byteaeq(pg_catalog.substr(p_stored, 1, 17), pg_catalog.substr(p_sent, 1, 17))
    or pg_catalog.byteaeq(
      pg_catalog.substr(p_stored, pg_catalog.int4mi(pg_catalog.octet_length(p_stored), 31)),
      pg_catalog.substr(p_sent, pg_catalog.int4mi(pg_catalog.octet_length(p_sent), 31)))
$$;
comment on function copilot_internal.same_request(bytea, bytea) is 'Whether two hashes belong to one request: its meaning or its exact words are the same.';
