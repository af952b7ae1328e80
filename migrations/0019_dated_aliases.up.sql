-- 0019 dated aliases: a name means a model from a date on. An alias that moves leaves what was priced before as it was.
alter table copilot_internal.model_aliases
  add column effective_date timestamptz not null default '1970-01-01T00:00:00Z',
  add column expires_at timestamptz;
alter table copilot_internal.model_aliases alter column effective_date drop default;

-- Until now a model's own card won over an alias of its name, from the card's first version on.
update copilot_internal.model_aliases a
  set expires_at = own.since
  from (
    select m.provider, m.model, min(m.effective_date) as since
    from copilot_internal.model_pricing m
    where m.superseded_at is null
    group by m.provider, m.model
  ) own
  where own.provider = a.provider and own.model = a.alias;
delete from copilot_internal.model_aliases where expires_at <= effective_date;

alter table copilot_internal.model_aliases drop constraint model_aliases_pkey;
-- There are about a thousand aliases, so what scans them takes no time.
alter table copilot_internal.model_aliases
  -- squawk-ignore adding-serial-primary-key-field, constraint-missing-not-valid
  add constraint model_aliases_pkey primary key (provider, alias, effective_date),
  -- squawk-ignore constraint-missing-not-valid
  add constraint model_aliases_period check (expires_at is null or expires_at > effective_date),
  -- squawk-ignore constraint-missing-not-valid
  add constraint model_aliases_no_overlap exclude using gist (
    copilot_internal.name_range(alias, alias, '[]') with &&,
    copilot_internal.name_range(provider, provider, '[]') with &&,
    tstzrange(effective_date, expires_at) with &&
  );
comment on table copilot_internal.model_aliases is
  'A name that means a model of the same provider for a time: compared whole, never as a prefix. Outside that time the name is the model''s own.';
comment on column copilot_internal.model_aliases.effective_date is 'The name means the model from here on, inclusive; also in the future.';
comment on column copilot_internal.model_aliases.expires_at is 'Until here, exclusive: from then on the name means another model. Null while no end is known.';

-- The model that a name of a reservation meant when it was made: its commit is priced by that one.
alter table copilot_internal.reservations add column priced_model text;
comment on column copilot_internal.reservations.priced_model is
  'The model whose rate card priced the hold; null where the caller gave the amount.';
update copilot_internal.reservations r
  set priced_model = m.model
  from copilot_internal.model_pricing m
  where r.status = 'reserved' and r.resource_type = 'llm' and m.price_id = r.price_id;

-- Cached prices of the release before say nothing of the time in which a name meant a model.
update copilot_internal.price_edition set edition = edition + 1;

do $$
begin
  if not exists (select from pg_catalog.pg_constraint c where c.conname = 'model_aliases_no_overlap' and c.contype = 'x')
     or not exists (select from pg_attribute where attrelid = 'copilot_internal.reservations'::regclass and attname = 'priced_model') then
    raise exception 'migration 0019 did not make its constraint and column';
  end if;
end $$;
