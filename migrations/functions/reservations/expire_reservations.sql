-- expire_reservations: settles lapsed holds, the longest lapsed first; answers how many. One that cannot be settled is passed over
-- with a warning, and check_integrity() says so (I3). Several processes may sweep at once: each takes what no other has locked.
-- p_silent: as for settle_holds(). Bound: p_rows_max a call. Locks: (0) -> (1) with skip locked -> (2) -> (3).
create or replace function copilot_internal.expire_reservations(p_rows_max integer default 500, p_silent boolean default false)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_now timestamptz;
  v_ids uuid[];
  v_id uuid;
  v_settled integer := 0;
begin
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  v_now := copilot_internal.clock_now();
  perform copilot_internal.ensure_cost_partitions(v_now);
  v_ids := array(
    select r.reservation_id from copilot_internal.reservations r
    where r.status = 'reserved' and r.expires_at <= v_now
    order by r.expires_at
    limit p_rows_max
    -- The one locking select that filters on the status: it never waits, so no row can change under it.
    for update skip locked);
  begin
    perform copilot_internal.settle_holds(v_ids, v_now, p_silent);
    return cardinality(v_ids);
  exception when data_exception or integrity_constraint_violation then
    -- One that cannot be settled, for instance after a repair by hand, does not keep the others from it. Alone they lock
    -- balances in the order of their lapse, so two sweeps may deadlock here: the next ones go on.
    foreach v_id in array v_ids loop
      begin
        perform copilot_internal.settle_holds(array[v_id], v_now, p_silent);
        v_settled := v_settled + 1;
      exception when data_exception or integrity_constraint_violation then
        raise warning 'the hold % cannot be settled: %', v_id, sqlerrm;
      end;
    end loop;
    return v_settled;
  end;
end $$;
comment on function copilot_internal.expire_reservations(integer, boolean) is 'Settles lapsed holds; answers how many.';
