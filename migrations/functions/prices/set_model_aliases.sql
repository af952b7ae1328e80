-- set_model_aliases: give the aliases of published versions to their models. Answers how many aliases changed.
--
-- p_versions: as publish_model_prices() takes them. An alias without any meaning counts from the earliest
-- effective_date of the versions that bring it. An alias of another model moves at the later of that date and p_now, so
-- that earlier costs keep their model. The same holds if a published model takes the name of an alias.
-- A name with a card of its own becomes no alias, and an alias that an administrator has set is moved by an
-- administrator only.
-- The caller holds the locks of publish_model_prices().
create or replace function copilot_internal.set_model_aliases(p_versions jsonb, p_now timestamptz)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new record;
  v_first copilot_internal.model_aliases;
  v_there copilot_internal.model_aliases;
  v_from timestamptz;
  v_until timestamptz;
  v_changed integer := 0;
  v_ended integer;
begin
  -- A published model takes its name away from an alias.
  with taken as (
    select m.provider, m.model, greatest(min(m.effective_date), p_now) as since
    from copilot_internal.model_pricing m
    join (
      select distinct v.value ->> 'provider' as provider, v.value ->> 'model' as model from jsonb_array_elements(p_versions) v
    ) p on p.provider = m.provider and p.model = m.model
    where m.superseded_at is null
    group by m.provider, m.model
  ), unborn as (
    delete from copilot_internal.model_aliases a
      using taken t
      where a.provider = t.provider and a.alias = t.model and a.effective_date >= t.since
      returning 1
  ), ended as (
    update copilot_internal.model_aliases a
      set expires_at = t.since
      from taken t
      where a.provider = t.provider and a.alias = t.model and a.effective_date < t.since
        and coalesce(a.expires_at, 'infinity') > t.since
      returning 1
  )
  select (select count(*) from unborn) + (select count(*) from ended) into v_ended;

  for v_new in
    select distinct on (w.provider, w.alias) w.provider, w.alias, w.model, w.source,
      min(w.effective_date) over (partition by w.provider, w.alias, w.model) as effective_date
    from (
      select v.value ->> 'provider' as provider, a.alias, v.value ->> 'model' as model, v.value ->> 'source' as source,
        (v.value ->> 'effective_date')::timestamptz as effective_date, v.position
      from jsonb_array_elements(p_versions) with ordinality as v(value, position)
      cross join lateral jsonb_array_elements_text(
        case when jsonb_typeof(v.value -> 'aliases') = 'array' then v.value -> 'aliases' else '[]' end) as a(alias)
    ) w
    where w.alias <> w.model and not exists (
      select from copilot_internal.model_pricing m where m.provider = w.provider and m.model = w.alias)
    order by w.provider, w.alias, w.position desc
  loop
    select a.* into v_first from copilot_internal.model_aliases a
      where a.provider = v_new.provider and a.alias = v_new.alias order by a.effective_date limit 1;
    if v_new.effective_date < v_first.effective_date and v_first.model = v_new.model then
      -- The name had no meaning before that date, so giving it one changes no price.
      update copilot_internal.model_aliases a set effective_date = v_new.effective_date
        where a.provider = v_first.provider and a.alias = v_first.alias and a.effective_date = v_first.effective_date;
      v_changed := v_changed + 1;
      continue;
    end if;

    v_from := case when v_first.effective_date <= p_now then greatest(v_new.effective_date, p_now) else v_new.effective_date end;
    select a.* into v_there from copilot_internal.model_aliases a
      where a.provider = v_new.provider and a.alias = v_new.alias and a.effective_date <= v_from
      order by a.effective_date desc limit 1;
    continue when v_there.model = v_new.model
      or (copilot_internal.is_admin_source(coalesce(v_there.source, v_first.source)) and not copilot_internal.is_admin_source(v_new.source));
    v_until := coalesce(v_there.expires_at, case when v_there.model is null then v_first.effective_date end);
    if v_there.effective_date = v_from then
      delete from copilot_internal.model_aliases a
        where a.provider = v_new.provider and a.alias = v_new.alias and a.effective_date = v_from;
    else
      update copilot_internal.model_aliases a set expires_at = v_from
        where a.provider = v_new.provider and a.alias = v_new.alias and a.effective_date = v_there.effective_date;
    end if;
    insert into copilot_internal.model_aliases (provider, alias, model, source, effective_date, expires_at, recorded_at)
      values (v_new.provider, v_new.alias, v_new.model, v_new.source, v_from, v_until, p_now);
    v_changed := v_changed + 1;
  end loop;
  return v_changed + v_ended;
end $$;
comment on function copilot_internal.set_model_aliases(jsonb, timestamptz) is 'Gives aliases to the models of published versions, from a date on; answers how many aliases changed.';
