-- A default is given to those who are known by now in steps, so that no decision waits for all of them.
alter table copilot_internal.quota_defaults add column pending boolean not null default false;
comment on column copilot_internal.quota_defaults.pending is 'Not every tenant or user that was known when it was set has it yet.';

do $$
begin
  if not exists (
    select from pg_attribute where attrelid = 'copilot_internal.quota_defaults'::regclass and attname = 'pending') then
    raise exception 'migration 0018 did not make its column';
  end if;
end $$;
