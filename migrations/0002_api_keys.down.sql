drop table copilot_internal.api_key_hashes;
drop table copilot_internal.api_keys;
