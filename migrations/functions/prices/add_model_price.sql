-- add_model_price: add an admin's version of a model's rate card, if the current version is the one that the admin
-- expects.
--
-- p_version: as publish_model_prices() takes it, except for effective_date: if missing it is now, or 1970-01-01 for a
-- model without any version, because no start is known. Times are whole milliseconds, as answers show them.
-- p_replaces: the price_id of the version of the same date that this one supersedes; 0 for any; null if none is
-- expected.
-- Answers { "price_id": n }, or, with nothing written, { "exists": n } if that date has another version than expected
-- (null for none), or { "alias_of": "name" } if an alias is a model with a card of its own.
-- Locks: as publish_model_prices().
create or replace function copilot_internal.add_model_price(p_version jsonb, p_replaces bigint)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_date timestamptz := (p_version ->> 'effective_date')::timestamptz;
  v_there bigint;
  v_alias text;
begin
  perform from copilot_internal.price_edition for update;
  if v_date is null then
    v_date := case
      when exists (
        select from copilot_internal.model_pricing m
        where m.provider = p_version ->> 'provider' and m.model = p_version ->> 'model' and m.superseded_at is null)
      then date_trunc('milliseconds', copilot_internal.clock_now())
      else '1970-01-01Z'
    end;
  end if;

  select m.price_id into v_there
  from copilot_internal.model_pricing m
  where m.provider = p_version ->> 'provider'
    and m.model = p_version ->> 'model'
    and m.effective_date = v_date
    and m.superseded_at is null;
  if v_there is distinct from p_replaces and p_replaces is distinct from 0 then
    return jsonb_build_object('exists', v_there);
  end if;

  select a.alias into v_alias
  from jsonb_array_elements_text(coalesce(p_version -> 'aliases', '[]')) as a(alias)
  join copilot_internal.model_pricing m on m.provider = p_version ->> 'provider' and m.model = a.alias
  limit 1;
  if v_alias is not null then
    return jsonb_build_object('alias_of', v_alias);
  end if;

  perform copilot_internal.publish_model_prices(
    jsonb_build_array(p_version || jsonb_build_object('effective_date', v_date)));
  return jsonb_build_object('price_id', m.price_id)
  from copilot_internal.model_pricing m
  where m.provider = p_version ->> 'provider'
    and m.model = p_version ->> 'model'
    and m.effective_date = v_date
    and m.superseded_at is null;
end $$;
comment on function copilot_internal.add_model_price(jsonb, bigint) is 'Adds an admin''s version of a rate card, unless that date has another version than the admin expects to replace.';
