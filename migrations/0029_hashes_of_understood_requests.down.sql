-- The release before compares the words, which are the last 32 bytes.
update copilot_internal.reservations
  set request_hash = substr(request_hash, octet_length(request_hash) - 31), commit_hash = substr(commit_hash, octet_length(commit_hash) - 31)
  where octet_length(request_hash) > 32 or octet_length(commit_hash) > 32;
update copilot_internal.record_keys set request_hash = substr(request_hash, octet_length(request_hash) - 31) where octet_length(request_hash) > 32;
comment on column copilot_internal.reservations.request_hash is null;
comment on column copilot_internal.reservations.commit_hash is null;
comment on column copilot_internal.record_keys.request_hash is null;
