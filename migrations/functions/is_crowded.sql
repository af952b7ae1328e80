-- is_crowded: takes part in the crowd of decisions until the transaction ends, and tells whether another one takes part now.
-- Never waits, and holds up no decision: whoever can't have the lock alone for a moment is told that there are others.
-- That moment is two calls in one expression, between which nothing can be cancelled; were the lock left behind all the
-- same, each decision would take itself for one of many, until that connection ends.
create or replace function copilot_internal.is_crowded()
returns boolean
language sql volatile
as $$
  select case
    when not pg_catalog.pg_try_advisory_xact_lock_shared(8102116101115) then true
    when not pg_catalog.pg_try_advisory_lock(8102116101115) then true
    else not pg_catalog.pg_advisory_unlock(8102116101115)
  end
$$;
comment on function copilot_internal.is_crowded() is 'Whether another transaction decides at this moment; counts this one in until it ends.';
