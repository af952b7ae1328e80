-- amend_reservations: adjust the inserts of reserve_spend() to its second decision: delete reservations that are
-- refused after all, and change those that get another amount. p_inserted[i] and p_amounts[i]: what item i was inserted
-- with, and what it gets (null: refused).
create or replace function copilot_internal.amend_reservations(
  p_items copilot_internal.reserve_item[], p_inserted numeric[], p_amounts numeric[], p_units numeric[],
  p_now timestamptz
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from copilot_internal.reservations r
    using unnest(p_items) with ordinality i
    where r.reservation_id = i.reservation_id and p_inserted[i.ordinality] is not null and p_amounts[i.ordinality] is null;
  update copilot_internal.reservations r
    set reserved_usd = p_amounts[i.ordinality],
        caps = case when p_units[i.ordinality] is not null then jsonb_build_object(i.caps_name, p_units[i.ordinality]) end,
        expires_at = p_now + make_interval(secs => case when i.ttl_beyond_units is null or p_units[i.ordinality] is null then i.ttl_seconds
          else i.ttl_beyond_units + p_units[i.ordinality] end)
    from unnest(p_items) with ordinality i
    where r.reservation_id = i.reservation_id and p_amounts[i.ordinality] <> p_inserted[i.ordinality];
end $$;
comment on function copilot_internal.amend_reservations(copilot_internal.reserve_item[], numeric[], numeric[], numeric[], timestamptz) is 'Adjusts the inserts of a batch to its second decision.';
