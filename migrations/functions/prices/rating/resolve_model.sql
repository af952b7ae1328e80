-- resolve_model: the model that a name means at a moment: that of an alias in force then, else the name itself. Names
-- are compared whole: a prefix could match a sibling model and be priced wrongly. Cost: one index look-up.
create or replace function copilot_internal.resolve_model(p_provider text, p_name text, p_at timestamptz)
returns text
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((
    select case when p_at < coalesce(a.expires_at, 'infinity') then a.model end
    from copilot_internal.model_aliases a
    where a.provider = p_provider and a.alias = p_name and a.effective_date <= p_at
    order by a.effective_date desc
    limit 1), p_name)
$$;
comment on function copilot_internal.resolve_model(text, text, timestamptz) is 'The model that a name means at a moment: by an alias in force then, else the model of that name.';
