-- The audit log: what administrators changed, hash-chained and append-only; and defaults that an administrator took away.
create table copilot_internal.audit_log (
  -- Counted by the chain itself, without gaps: a row that is missing shows.
  audit_id bigint primary key check (audit_id >= 1),
  at timestamptz not null,
  principal text not null check (length(principal) between 1 and 300),
  ip text,
  action text not null check (action ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  subject text not null check (length(subject) between 1 and 1000),
  before jsonb,
  after jsonb,
  reason text,
  hash text not null check (hash ~ '^[0-9a-f]{64}$'),
  previous_hash text check (previous_hash ~ '^[0-9a-f]{64}$'),
  constraint audit_log_first_has_no_previous check ((audit_id = 1) = (previous_hash is null))
);
comment on table copilot_internal.audit_log is 'One change by an administrator: who, from where, what, before, after and why. Append-only; each row''s hash covers the one before.';
create index audit_log_action on copilot_internal.audit_log (action, audit_id);
create index audit_log_principal on copilot_internal.audit_log (principal, audit_id);
create index audit_log_at on copilot_internal.audit_log (at);

create table copilot_internal.audit_head (
  one boolean primary key default true check (one),
  audit_id bigint not null,
  hash text
);
comment on table copilot_internal.audit_head is 'The end of the audit chain. Its row is the last lock that a change takes, so that entries follow one another.';
insert into copilot_internal.audit_head (audit_id, hash) values (0, null);

create function copilot_internal.guard_audit_log()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'the audit log is append-only: % is refused', lower(tg_op) using errcode = 'insufficient_privilege';
end $$;
comment on function copilot_internal.guard_audit_log() is 'Refuses every change of what the audit log says.';
create trigger audit_log_append_only
  before update or delete or truncate on copilot_internal.audit_log
  for each statement execute function copilot_internal.guard_audit_log();
-- Always: also for a superuser, and for a session that plays a replica.
alter table copilot_internal.audit_log enable always trigger audit_log_append_only;

alter table copilot_internal.quota_defaults add column deleted_at timestamptz;
comment on column copilot_internal.quota_defaults.deleted_at is 'Taken away by an administrator. The row stays, so that the environment does not bring it back.';

do $$
begin
  if to_regclass('copilot_internal.audit_log') is null
     or not exists (select from copilot_internal.audit_head)
     or not exists (select from pg_trigger where tgname = 'audit_log_append_only' and tgenabled = 'A')
     or not exists (
       select from pg_attribute where attrelid = 'copilot_internal.quota_defaults'::regclass and attname = 'deleted_at')
  then
    raise exception 'migration 0009 did not make its tables, its trigger and its column';
  end if;
end $$;
