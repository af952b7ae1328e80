-- keep_line_facts: one step through the lines from before migration 0020, in the order in which they were recorded. It
-- copies what their reservations say about their price, so that the reservations can be deleted. Answers how many lines
-- it read; 0 when all are done.
-- Bound: p_rows_max lines a call. Locks: the row of the walk, so one step at a time.
create or replace function copilot_internal.keep_line_facts(p_rows_max integer)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_walk copilot_internal.line_facts_walk;
  v_page record;
begin
  select w.* into v_walk from copilot_internal.line_facts_walk w where not w.is_done order by w.resource_type limit 1 for update;
  if not found then
    return 0;
  end if;
  execute format($q$
    select count(*)::integer as lines, max(p.recorded_at) as recorded_at,
           (array_agg(p.cost_record_id order by p.recorded_at desc, p.cost_record_id desc))[1] as cost_record_id,
           array_agg(p.cost_record_id) filter (where p.priced_at is null and p.reservation_id is not null) as ids
    from (
      select l.recorded_at, l.cost_record_id, l.priced_at, l.reservation_id from copilot_internal.%I l
      where (l.recorded_at, l.cost_record_id) > ($1, $2)
      order by l.recorded_at, l.cost_record_id
      limit $3
    ) p$q$, v_walk.resource_type || '_cost_records')
    into v_page using v_walk.recorded_at, v_walk.cost_record_id, p_rows_max;
  perform copilot_internal.copy_line_facts(v_walk.resource_type, v_page.ids) where v_page.ids is not null;
  update copilot_internal.line_facts_walk w
    set recorded_at = coalesce(v_page.recorded_at, w.recorded_at), cost_record_id = coalesce(v_page.cost_record_id, w.cost_record_id),
        is_done = v_page.lines < p_rows_max
    where w.resource_type = v_walk.resource_type;
  -- Not 0: the other table may still have lines.
  return greatest(v_page.lines, 1);
end $$;
comment on function copilot_internal.keep_line_facts(integer) is 'Copies what reservations say about the price of old lines, one step; answers how many lines it read, 0 when all are done.';
