-- guard_price_version: trigger that keeps price versions as they were published: only expires_at and superseded_at may
-- change, and nothing once a version is superseded.
create or replace function copilot_internal.guard_price_version()
returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'DELETE' then
    raise exception 'a price version is never deleted: price_id %', old.price_id using errcode = 'restrict_violation';
  end if;
  if to_jsonb(new) - 'expires_at' - 'superseded_at' <> to_jsonb(old) - 'expires_at' - 'superseded_at' then
    raise exception 'a price version is never edited: price_id %', old.price_id
      using errcode = 'restrict_violation', hint = 'Publish a new version.';
  end if;
  if old.superseded_at is not null then
    raise exception 'a superseded price version is never changed: price_id %', old.price_id using errcode = 'restrict_violation';
  end if;
  return null;
end $$;
comment on function copilot_internal.guard_price_version() is 'Trigger: of a price version only expires_at and superseded_at may change, and nothing once it is superseded.';
