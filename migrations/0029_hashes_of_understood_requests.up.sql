-- From now on a hash begins with its version, 2, and has what was understood before the words: see same_request(). What is stored
-- stays as it is, as version 1, and so does what an older instance writes meanwhile.
comment on column copilot_internal.reservations.request_hash is 'Version 1: 32 bytes, the words. Version 2: the byte 2, 16 of what was understood, 32 of the words.';
comment on column copilot_internal.reservations.commit_hash is 'Of the commit, as request_hash of the request.';
comment on column copilot_internal.record_keys.request_hash is 'As that of a reservation.';

do $$
begin
  if col_description('copilot_internal.reservations'::regclass,
       (select a.attnum from pg_attribute a where a.attrelid = 'copilot_internal.reservations'::regclass and a.attname = 'commit_hash')) is null then
    raise exception 'migration 0029 did not make its comments';
  end if;
end $$;
