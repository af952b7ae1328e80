-- is_contended: whether another transaction is making decisions of the same kind now. From here to its end, this
-- transaction counts as one for others.
-- p_lock_id is the advisory lock of a kind: 8102116101115 for reservations, 8102116101116 for commits. An instance
-- sends one batch of a kind at a time, so it does not compete with itself.
-- It never waits and delays no decision: a transaction that cannot take the lock exclusively for a moment knows that
-- there are others. Taking and giving back are two calls in one expression, and nothing can be cancelled between them.
-- If the lock were left behind all the same, every decision would find itself contended until that connection ends.
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
comment on function copilot_internal.is_contended(bigint) is 'Whether another transaction makes decisions of the same kind now; counts this one in until it ends.';
