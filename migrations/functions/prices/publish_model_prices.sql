-- publish_model_prices: store versions of rate cards. Storing the same ones again changes nothing.
--
-- p_versions: [{ provider, model, effective_date, source, usd_per_mtok, usd_per_unit?, long_context?, modifiers?,
-- expires_at?, aliases? }], at most 10,000. Each version is one of these:
--   unchanged: the same date and the same rates exist.
--   added: a new date. It closes its predecessor and ends where its successor starts.
--   superseded: the same date with other rates supersedes the old version. So does an admin who confirms the same
--     rates: the version is the admin's then.
--   held_back: an admin has set the version of that date, and only an admin supersedes it.
-- Aliases are set by set_model_aliases().
-- Locks: the price edition, then the tables against other publishers; readers and writers of costs go on.
create or replace function copilot_internal.publish_model_prices(
  p_versions jsonb, out added integer, out unchanged integer, out superseded integer, out held_back integer,
  out aliases_set integer
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := copilot_internal.clock_now();
  v_new record;
  v_old copilot_internal.model_pricing;
  v_next timestamptz;
  v_by_admin boolean;
begin
  added := 0;
  unchanged := 0;
  superseded := 0;
  held_back := 0;
  if jsonb_typeof(p_versions) <> 'array' or jsonb_array_length(p_versions) > 10000 then
    raise exception 'price versions: an array of at most 10000' using errcode = 'invalid_parameter_value';
  end if;
  -- The publishers' lock, first of all: so two publishers of both kinds of prices cannot deadlock.
  perform from copilot_internal.price_edition for update;
  lock table copilot_internal.model_pricing, copilot_internal.model_aliases in share row exclusive mode;

  for v_new in
    select v.value ->> 'provider' as provider, v.value ->> 'model' as model,
      (v.value ->> 'effective_date')::timestamptz as effective_date,
      (v.value ->> 'expires_at')::timestamptz as expires_at,
      v.value ->> 'source' as source,
      copilot_internal.rate_map(v.value -> 'usd_per_mtok') as usd_per_mtok,
      copilot_internal.rate_map(v.value -> 'usd_per_unit') as usd_per_unit,
      copilot_internal.rate_map(v.value -> 'modifiers') as modifiers,
      case when jsonb_typeof(v.value -> 'long_context') = 'object' then jsonb_build_object(
        'input_tokens_over', v.value -> 'long_context' -> 'input_tokens_over',
        'usd_per_mtok', copilot_internal.rate_map(v.value -> 'long_context' -> 'usd_per_mtok'))
      end as long_context
    from jsonb_array_elements(p_versions) with ordinality as v(value, position)
    order by v.position
  loop
    v_by_admin := copilot_internal.is_admin_source(v_new.source);
    select m.* into v_old
    from copilot_internal.model_pricing m
    where m.provider = v_new.provider
      and m.model = v_new.model
      and m.effective_date = v_new.effective_date
      and m.superseded_at is null;
    if found then
      if (copilot_internal.is_admin_source(v_old.source) or not v_by_admin)
        and (v_old.usd_per_mtok, v_old.usd_per_unit, v_old.modifiers)
        = (v_new.usd_per_mtok, v_new.usd_per_unit, v_new.modifiers)
        and v_old.long_context is not distinct from v_new.long_context then
        unchanged := unchanged + 1;
        continue;
      end if;
      if copilot_internal.is_admin_source(v_old.source) and not v_by_admin then
        held_back := held_back + 1;
        continue;
      end if;
      update copilot_internal.model_pricing m set superseded_at = v_now where m.price_id = v_old.price_id;
      superseded := superseded + 1;
    else
      update copilot_internal.model_pricing m
      set expires_at = v_new.effective_date
      where m.provider = v_new.provider
        and m.model = v_new.model
        and m.superseded_at is null
        and m.effective_date < v_new.effective_date
        and (m.expires_at is null or m.expires_at > v_new.effective_date);
      added := added + 1;
    end if;

    select min(m.effective_date) into v_next
    from copilot_internal.model_pricing m
    where m.provider = v_new.provider
      and m.model = v_new.model
      and m.superseded_at is null
      and m.effective_date > v_new.effective_date;
    insert into copilot_internal.model_pricing (
      provider, model, usd_per_mtok, usd_per_unit, long_context, modifiers, effective_date, expires_at, source, recorded_at)
    values (
      v_new.provider, v_new.model, v_new.usd_per_mtok, v_new.usd_per_unit, v_new.long_context, v_new.modifiers,
      v_new.effective_date, least(v_new.expires_at, v_next), v_new.source, v_now);
  end loop;

  aliases_set := copilot_internal.set_model_aliases(p_versions, v_now);
  if added + superseded + aliases_set > 0 then
    update copilot_internal.price_edition n set edition = n.edition + 1;
  end if;
end $$;
comment on function copilot_internal.publish_model_prices(jsonb) is 'Publishes versions of rate cards and aliases, idempotently; answers how many were added, unchanged, superseded, and held back because of an admin''s version.';
