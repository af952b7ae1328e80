-- release_spend: give back holds that were not used. p_items: [{ reservation_id, tenant_id, reason }, ...]; tenant_id
-- as in commit_item. A second release gets the same answer. An expired hold stays expired. A committed one is a
-- conflict.
-- Answers { outcomes }. outcomes[i] is one of
--   { "settled": the reservation } | { "conflict": "committed" } | { "unknown": true }
-- p_silent: as in settle_holds(). Bound: 500 items a call.
-- Locks: (0) -> (1) reservations by id -> (2) quota_periods by id.
create or replace function copilot_internal.release_spend(p_items json, p_silent boolean default false)
returns json
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
-- Short, so that time is left for the other items, whose locks are free.
set lock_timeout = '1000ms'
as $$
declare
  v_now timestamptz;
  v_known uuid[];
  v_ids uuid[];
begin
  if json_array_length(p_items) not between 1 and 500 then
    raise exception 'a batch has 1 to 500 items' using errcode = 'program_limit_exceeded';
  end if;
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  v_now := copilot_internal.clock_now();
  perform copilot_internal.ensure_cost_partitions(v_now);
  -- Lock (1), as in commit_spend().
  v_known := array(
    select r.reservation_id from (select distinct i.reservation_id from json_to_recordset(p_items) i(reservation_id uuid) order by i.reservation_id) i
    cross join lateral (
      select r.reservation_id from copilot_internal.reservations r where r.reservation_id = i.reservation_id
      for update
    ) r);
  -- settle_holds() treats a hold past expires_at by its on_expiry: a late release does not avoid a charge that is due.
  v_ids := array(
    select distinct r.reservation_id from json_to_recordset(p_items) i(reservation_id uuid, tenant_id text)
    cross join lateral copilot_internal.find_reservation(i.reservation_id) r
    where r.status = 'reserved' and r.reservation_id = any (v_known) and (i.tenant_id is null or r.tenant_id = i.tenant_id)
    order by r.reservation_id);
  perform copilot_internal.settle_holds(v_ids, v_now, p_silent);
  update copilot_internal.reservations r
    set release_reason = i.reason
    from json_to_recordset(p_items) i(reservation_id uuid, tenant_id text, reason text)
    where r.reservation_id = any (v_ids) and r.reservation_id = i.reservation_id and (i.tenant_id is null or r.tenant_id = i.tenant_id)
      and r.status = 'released';
  return (
    select json_build_object('outcomes', json_agg(case
        when r.reservation_id is null then json_build_object('unknown', true)
        when r.status = 'committed' then json_build_object('conflict', r.status)
        else json_build_object('settled', copilot_internal.reservation_json(r))
      end order by i.ordinality))
    from (
      select (e.value ->> 'reservation_id')::uuid as reservation_id, e.value ->> 'tenant_id' as tenant_id, e.ordinality
      from json_array_elements(p_items) with ordinality e
    ) i
    left join lateral copilot_internal.find_reservation(i.reservation_id) r on r.reservation_id = any (v_known) and (i.tenant_id is null or r.tenant_id = i.tenant_id));
end $$;
comment on function copilot_internal.release_spend(json, boolean) is 'Gives unused holds back; answers per item.';
