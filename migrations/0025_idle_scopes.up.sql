-- When a scope was seen last, so that one that came from a default and is used by nobody can go again. Its own column: valid_until is the
-- end of a period, which a hold keeps.
alter table copilot_internal.scopes add column look_up_at timestamptz not null default now();
alter table copilot_internal.scopes alter column look_up_at drop default;
comment on column copilot_internal.scopes.look_up_at is 'It is prepared again then, a day after it was: so a scope with an older one has not been used since.';

-- A quota that goes takes all its balances along, the closed ones too; without it Postgres would read them all for each.
-- squawk-ignore require-concurrent-index-creation -- one pass over the balances, and the runner's file is one transaction
create index quota_periods_of_quota on copilot_internal.quota_periods (quota_id, starts_at);

do $$
begin
  if to_regclass('copilot_internal.quota_periods_of_quota') is null
     or not exists (select from pg_attribute where attrelid = 'copilot_internal.scopes'::regclass and attname = 'look_up_at') then
    raise exception 'migration 0025 did not make its column and index';
  end if;
end $$;
