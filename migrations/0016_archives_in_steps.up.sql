-- What an archived month has in each balance goes to archived_usd in steps, so that no decision waits for all balances of a month.
alter table copilot_internal.cost_archives add column carried_to bigint not null default 0;
comment on column copilot_internal.cost_archives.carried_to is 'archived_usd of the balances with ids up to this one has what the archive has in them.';
-- Until now all of it went at once.
update copilot_internal.cost_archives set carried_to = 9223372036854775807 where state in ('archived', 'deleted');

do $$
begin
  if not exists (
    select from pg_attribute where attrelid = 'copilot_internal.cost_archives'::regclass and attname = 'carried_to') then
    raise exception 'migration 0016 did not make its column';
  end if;
end $$;
