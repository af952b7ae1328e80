-- reserve_outcomes: the answers of reserve_spend() for its items, in order. p_granted[i]: what item i got. If that is
-- null, p_notes[i] says why it was refused. If that is null too, the item is a repeat of a stored reservation, or of an
-- item that this very batch has refused.
create or replace function copilot_internal.reserve_outcomes(
  p_items copilot_internal.reserve_item[], p_granted numeric[], p_units numeric[], p_notes text[]
)
returns json
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select json_agg(case
      when p_granted[i.ordinality] is not null then json_build_object(
        'granted', p_granted[i.ordinality]::text, 'units', p_units[i.ordinality], 'warned', p_notes[i.ordinality]::json)
      when p_notes[i.ordinality] is not null then json_build_object('refused', p_notes[i.ordinality]::json)
      else coalesce(
        (select case when copilot_internal.same_request(r.request_hash, i.request_hash)
           then json_build_object('replayed', copilot_internal.reservation_json(r)) else json_build_object('mismatch', true) end
         from copilot_internal.reservations r
         where r.principal = i.principal and r.tenant_id = i.tenant_id and r.idempotency_key = i.idempotency_key),
        (select json_build_object('replayed', copilot_internal.reservation_json(r))
         from copilot_internal.reservations r where r.reservation_id = i.reservation_id),
        (select json_build_object('refused', p_notes[f.ordinality]::json)
         from unnest(p_items) with ordinality f
         where f.principal = i.principal and f.tenant_id = i.tenant_id and f.idempotency_key = i.idempotency_key
           and p_notes[f.ordinality] is not null
         order by f.ordinality limit 1))
    end order by i.ordinality)
  from unnest(p_items) with ordinality i
$$;
comment on function copilot_internal.reserve_outcomes(copilot_internal.reserve_item[], numeric[], numeric[], text[]) is 'The answers of reserve_spend() for its items.';
