-- quota_lock: the number of advisory lock (0). Decisions share it. Changes of quotas, and moves of partitions, take it
-- exclusively.
create or replace function copilot_internal.quota_lock()
returns bigint
language sql immutable parallel safe
as $$ select 8102116101114 $$;
comment on function copilot_internal.quota_lock() is 'The advisory lock between decisions (shared) and changes of quotas (exclusive).';
