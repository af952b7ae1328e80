-- emit_broken_integrity: write the event integrity.broken, once a day of UTC, with the first 20 rows that
-- check_integrity() found.
-- p_broken: [{ invariant, subject, detail }], not empty.
create or replace function copilot_internal.emit_broken_integrity(p_broken jsonb)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := copilot_internal.clock_now();
begin
  insert into copilot_internal.quota_events (event_id, type, created_at, once_key, data)
  values (copilot_internal.uuid_v7(v_now), 'integrity.broken', v_now, to_char(v_now at time zone 'UTC', 'YYYY-MM-DD'),
    jsonb_build_object(
      'broken_rows', jsonb_array_length(p_broken),
      'broken', (
        select jsonb_agg(jsonb_build_object(
            'invariant', b.value -> 'invariant', 'subject', left(b.value ->> 'subject', 300), 'detail', left(b.value ->> 'detail', 300))
          order by b.place)
        from jsonb_array_elements(p_broken) with ordinality b(value, place)
        where b.place <= 20)))
  on conflict do nothing;
end $$;
comment on function copilot_internal.emit_broken_integrity(jsonb) is 'Writes integrity.broken, once a day.';
