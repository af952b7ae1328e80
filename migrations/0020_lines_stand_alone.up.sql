-- 0020 lines stand alone: a line of cost says itself when it was priced, which model its name meant, what was held for it and
-- why it is an estimate. Corrections and re-rating read the line, for its reservation is deleted long before it.
create type copilot_internal.estimate_reason as enum (
  'lapse', 'unpriced', 'usage_unknown', 'usage_unreadable', 'window', 'direct');
comment on type copilot_internal.estimate_reason is
  'Why a cost is an estimate: a charged lapse, no price, usage unknown or unreadable, a running window, or a direct amount.';

alter table copilot_internal.llm_cost_records
  add column priced_at timestamptz,
  add column priced_model text,
  add column reserved_usd numeric,
  add column estimate_reason copilot_internal.estimate_reason;
comment on column copilot_internal.llm_cost_records.priced_at is
  'The moment whose prices count: its reservation''s created_at, or when a direct record occurred. Null in lines of before 0020.';
comment on column copilot_internal.llm_cost_records.priced_model is
  'The model whose rate card priced it: what the name meant at priced_at. Null where no card did.';
comment on column copilot_internal.llm_cost_records.reserved_usd is 'What was held for it; null for a direct record.';
comment on column copilot_internal.llm_cost_records.estimate_reason is 'Why it is an estimate; null where it is none.';

alter table copilot_internal.e2b_cost_records
  add column priced_at timestamptz,
  add column reserved_usd numeric,
  add column estimate_reason copilot_internal.estimate_reason;
comment on column copilot_internal.e2b_cost_records.priced_at is
  'When the run began, from which on it is priced second by second. Null in lines of before 0020.';
comment on column copilot_internal.e2b_cost_records.reserved_usd is 'What was held for it; null for a direct record.';
comment on column copilot_internal.e2b_cost_records.estimate_reason is 'Why it is an estimate; null where it is none.';

-- Lines of before are immutable, so their facts stand beside them. They are copied in steps: see keep_line_facts().
create table copilot_internal.line_facts (
  cost_record_id uuid primary key,
  priced_at timestamptz not null,
  priced_model text,
  reserved_usd numeric not null,
  estimate_reason copilot_internal.estimate_reason
);
comment on table copilot_internal.line_facts is
  'What a line of before 0020 does not say itself, copied from its reservation before that was deleted.';

create table copilot_internal.line_facts_walk (
  resource_type copilot_internal.resource_type primary key,
  recorded_at timestamptz not null default '-infinity',
  cost_record_id uuid not null default '00000000-0000-0000-0000-000000000000',
  is_done boolean not null default false
);
comment on table copilot_internal.line_facts_walk is 'How far line_facts has been filled: the last line that was looked at.';
-- A database without lines has nothing to walk.
insert into copilot_internal.line_facts_walk (resource_type, is_done)
select 'llm'::copilot_internal.resource_type, not exists (select from copilot_internal.llm_cost_records)
union all
select 'e2b', not exists (select from copilot_internal.e2b_cost_records);

alter type copilot_internal.settlement add attribute priced_model text;
alter type copilot_internal.record_booking add attribute priced_model text;

do $$
begin
  if to_regclass('copilot_internal.line_facts') is null or (select count(*) from copilot_internal.line_facts_walk) <> 2
     or (select count(*) from pg_attribute where attname = 'estimate_reason'
         and attrelid in ('copilot_internal.llm_cost_records'::regclass, 'copilot_internal.e2b_cost_records'::regclass)) <> 2 then
    raise exception 'migration 0020 did not make its tables and columns';
  end if;
end $$;
