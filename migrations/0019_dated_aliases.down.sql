alter table copilot_internal.reservations drop column priced_model;

-- One meaning a name is left: the one of now, or else the first that comes.
delete from copilot_internal.model_aliases a
  using (
    select distinct on (k.provider, k.alias) k.provider, k.alias, k.effective_date
    from copilot_internal.model_aliases k
    cross join lateral (select k.effective_date <= copilot_internal.clock_now() as has_begun) b
    order by k.provider, k.alias, b.has_begun desc,
      case when b.has_begun then k.effective_date end desc, k.effective_date
  ) kept
  where kept.provider = a.provider and kept.alias = a.alias and kept.effective_date <> a.effective_date;
alter table copilot_internal.model_aliases
  drop constraint model_aliases_no_overlap,
  drop constraint model_aliases_period,
  drop constraint model_aliases_pkey;
alter table copilot_internal.model_aliases
  -- squawk-ignore adding-serial-primary-key-field, constraint-missing-not-valid
  add primary key (provider, alias);
alter table copilot_internal.model_aliases drop column effective_date, drop column expires_at;
comment on table copilot_internal.model_aliases is
  'A name that means a model of the same provider: compared whole, never as a prefix. A model''s own card wins over an alias of that name.';
