-- same_request: whether two hashes are of one request: understood alike, or sent in the same words.
-- A hash is one byte of its version (2), 16 of what was understood and 32 of the words. Version 1 is the words' 32 alone: rows
-- of the release before have it, and its instances still send it. So the last 32 bytes are the words' in any version.
-- Without a search_path of its own, so that it becomes a part of the caller's expression: a commit asks it for every item. So it
-- names everything by its schema, and operators by their functions.
create or replace function copilot_internal.same_request(p_stored bytea, p_sent bytea)
returns boolean
language sql immutable parallel safe
as $$
  select pg_catalog.byteaeq(pg_catalog.substr(p_stored, 1, 17), pg_catalog.substr(p_sent, 1, 17))
    or pg_catalog.byteaeq(
      pg_catalog.substr(p_stored, pg_catalog.int4mi(pg_catalog.octet_length(p_stored), 31)),
      pg_catalog.substr(p_sent, pg_catalog.int4mi(pg_catalog.octet_length(p_sent), 31)))
$$;
comment on function copilot_internal.same_request(bytea, bytea) is 'Whether two hashes are of one request: understood alike, or sent in the same words.';
