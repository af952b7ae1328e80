-- expire_reservations: settle lapsed holds, the longest lapsed first. Answers how many. A hold that cannot be
-- settled is skipped with a warning, and check_integrity() reports it (I3). Several processes may sweep at once: each
-- takes what no other has locked.
-- p_silent: as in settle_holds(). Bound: p_rows_max a call. Locks: (0) -> (1) with skip locked -> (2) -> (3).
create or replace function copilot_internal.expire_reservations(
  p_rows_max integer default 500, p_silent boolean default false
)
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
    -- The only locking select that filters on status. It never waits, so no row can change meanwhile.
    for update skip locked);
  begin
    perform copilot_internal.settle_holds(v_ids, v_now, p_silent);
    return cardinality(v_ids);
  exception when data_exception or integrity_constraint_violation then
    -- Some hold cannot be settled, for instance after a repair by hand. So settle each alone, and skip the one that
    -- fails. Then balances are locked in the order of the lapses, so two sweeps may deadlock here; the next sweeps
    -- continue.
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
