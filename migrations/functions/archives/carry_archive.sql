-- carry_archive: adjust archived_usd of balances to where a month of records is. Once the month has left the database,
-- each balance gets what the month has booked in it; once the month is back, each balance gives it back. Answers how
-- many balances were adjusted; 0 when all are done.
-- A step takes the next balances in the order of their ids; on the way back it goes from the last one to the first.
-- cost_archives.carried_to stores how far it has come, so a run that broke off continues there. Until it is done, I1
-- adds what uncarried_costs() answers.
-- Locks: (0) shared -> the archive -> (2) quota_periods by id. Bound: p_rows_max balances a call.
create or replace function copilot_internal.carry_archive(p_partition text, p_rows_max integer)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_archive copilot_internal.cost_archives;
  v_gone boolean;
  v_ids bigint[];
begin
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  select * into v_archive from copilot_internal.cost_archives a where a.partition = p_partition for update;
  v_gone := v_archive.state in ('archived', 'deleted');
  if v_gone then
    v_ids := array(
      select p.quota_period_id from copilot_internal.archived_periods p
      where p.partition = p_partition and p.quota_period_id > v_archive.carried_to
      order by p.quota_period_id limit p_rows_max);
  else
    v_ids := array(
      select p.quota_period_id from copilot_internal.archived_periods p
      where p.partition = p_partition and p.quota_period_id <= v_archive.carried_to
      order by p.quota_period_id desc limit p_rows_max);
  end if;
  perform from copilot_internal.quota_periods q
    where q.quota_period_id = any (v_ids)
    order by q.quota_period_id
    for update;
  update copilot_internal.quota_periods q
    set archived_usd = q.archived_usd + case when v_gone then p.cost_usd else -p.cost_usd end
    from copilot_internal.archived_periods p
    where p.partition = p_partition and p.quota_period_id = any (v_ids) and q.quota_period_id = p.quota_period_id;
  update copilot_internal.cost_archives a
    set carried_to = case
      when cardinality(v_ids) = 0 then case when v_gone then 9223372036854775807 else 0 end
      when v_gone then v_ids[cardinality(v_ids)]
      else v_ids[cardinality(v_ids)] - 1 end
    where a.partition = p_partition;
  return cardinality(v_ids);
end $$;
comment on function copilot_internal.carry_archive(text, integer) is 'Adds a month of records to archived_usd of the next balances, or takes it off again; answers how many.';
