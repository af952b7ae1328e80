-- is_contended: takes part in a crowd of like decisions until the transaction ends, and tells whether another one takes part now.
-- p_lock_id is the crowd's advisory lock: 8102116101115 of reservations, 8102116101116 of commits. An instance sends one batch of a
-- kind at a time, so that it is no crowd by itself.
-- Never waits, and holds up no decision: whoever can't have the lock alone for a moment is told that there are others.
-- That moment is two calls in one expression, between which nothing can be cancelled; were the lock left behind all the
-- same, each decision would take itself for one of many, until that connection ends.
create or replace function copilot_internal.is_contended(p_lock_id bigint)
returns boolean
language sql volatile
as $$
  select case
    when not pg_catalog.pg_try_advisory_xact_lock_shared(p_lock_id) then true
    when not pg_catalog.pg_try_advisory_lock(p_lock_id) then true
    else not pg_catalog.pg_advisory_unlock(p_lock_id)
  end
$$;
comment on function copilot_internal.is_contended(bigint) is 'Whether another transaction decides the like at this moment; counts this one in until it ends.';
