-- Direct records are never refused for lack of quota, so one key could use up the platform's quota for everybody: a key may have
-- a ceiling of what it records a day.
alter table copilot_internal.api_keys
  add column max_record_usd_per_day numeric check (max_record_usd_per_day is null or (role = 'service' and max_record_usd_per_day >= 0));
comment on column copilot_internal.api_keys.max_record_usd_per_day is 'The most that its direct records may cost in a day of UTC; null: no ceiling.';

create table copilot_internal.record_days (
  principal text not null,
  day date not null,
  recorded_usd numeric not null check (recorded_usd >= 0),
  primary key (principal, day)
);
comment on table copilot_internal.record_days is 'What a principal with a ceiling has recorded directly in a day of UTC.';

do $$
begin
  if to_regclass('copilot_internal.record_days') is null
     or not exists (select from pg_attribute where attrelid = 'copilot_internal.api_keys'::regclass and attname = 'max_record_usd_per_day') then
    raise exception 'migration 0022 did not make its table and column';
  end if;
end $$;
