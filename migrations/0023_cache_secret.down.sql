drop table copilot_internal.cache_secret;
