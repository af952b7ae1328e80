-- Totals of cost, kept up with the records: what the tables of records are too large to be asked for.

-- A line of cost stands here from its own transaction on, until it is rolled up: one that commits late is simply still here,
-- whatever its recorded_at says. No clock, sequence or transaction id has to tell what a roll-up has seen.
create table copilot_internal.cost_tail (
  resource_type copilot_internal.resource_type not null,
  tenant_id text not null,
  provider text,
  model text,
  tier text,
  occurred_at timestamptz not null,
  cost_usd numeric not null,
  input_tokens bigint,
  output_tokens bigint,
  seconds numeric
) with (
  -- Rows come and go: what is dead goes early, so that reading the tail stays cheap.
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_vacuum_insert_threshold = 50000, autovacuum_vacuum_cost_delay = 0
);
comment on table copilot_internal.cost_tail is 'A line of cost that is not rolled up yet. It has no index: it is read whole, and is short.';

create table copilot_internal.cost_rollups (
  grain text not null check (grain in ('quarter', 'day', 'month')),
  -- A quarter of an hour, because zones at :45 have days too; a day or a month of UTC.
  starts_at timestamptz not null,
  resource_type copilot_internal.resource_type not null,
  tenant_id text not null,
  provider text,
  model text,
  tier text,
  records bigint not null,
  cost_usd numeric not null,
  input_tokens numeric not null,
  output_tokens numeric not null,
  seconds numeric not null
) partition by list (grain);
comment on table copilot_internal.cost_rollups is 'The sums of the records of a quarter of an hour, a day or a month by occurred_at, tenant and model or tier. Derived from the records, archived ones too.';
-- Each grain lies together: a question about days reads no page of quarters. Room for sums that grow in place.
create table copilot_partitions.cost_rollups_quarter partition of copilot_internal.cost_rollups for values in ('quarter') with (fillfactor = 85);
create table copilot_partitions.cost_rollups_day partition of copilot_internal.cost_rollups for values in ('day') with (fillfactor = 70);
create table copilot_partitions.cost_rollups_month partition of copilot_internal.cost_rollups for values in ('month') with (fillfactor = 70);
-- Ids of 200 characters of four bytes fit.
create unique index cost_rollups_key on copilot_internal.cost_rollups (tenant_id, grain, starts_at, resource_type, provider, model, tier)
  nulls not distinct;
create index cost_rollups_time on copilot_internal.cost_rollups (grain, starts_at);

-- A function that a trigger needs; its current body is in functions/.
create function copilot_internal.append_cost_tail()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_table_name = 'llm_cost_records' then
    insert into copilot_internal.cost_tail (resource_type, tenant_id, provider, model, occurred_at, cost_usd, input_tokens, output_tokens)
    select 'llm', i.tenant_id, i.provider, i.model, i.occurred_at, i.total_cost_usd, i.input_tokens, i.output_tokens from inserted i;
  else
    insert into copilot_internal.cost_tail (resource_type, tenant_id, tier, occurred_at, cost_usd, seconds)
    select 'e2b', i.tenant_id, i.tier, i.occurred_at, i.total_cost_usd, i.execution_time_seconds from inserted i;
  end if;
  return null;
end $$;
comment on function copilot_internal.append_cost_tail() is 'Appends new lines of cost to what is still to be rolled up.';
-- On the table, not on its partitions: a month that is restored is counted already.
create trigger llm_cost_records_tail after insert on copilot_internal.llm_cost_records
  referencing new table as inserted for each statement execute function copilot_internal.append_cost_tail();
create trigger e2b_cost_records_tail after insert on copilot_internal.e2b_cost_records
  referencing new table as inserted for each statement execute function copilot_internal.append_cost_tail();

insert into copilot_internal.cost_tail (resource_type, tenant_id, provider, model, occurred_at, cost_usd, input_tokens, output_tokens)
select 'llm', tenant_id, provider, model, occurred_at, total_cost_usd, input_tokens, output_tokens from copilot_internal.llm_cost_records;
insert into copilot_internal.cost_tail (resource_type, tenant_id, tier, occurred_at, cost_usd, seconds)
select 'e2b', tenant_id, tier, occurred_at, total_cost_usd, execution_time_seconds from copilot_internal.e2b_cost_records;

-- By when it occurred: what a question has beside whole quarters of an hour, and exports. By when it was recorded: the list.
-- Partitioned tables cannot get an index concurrently; it waits no longer than the runner's lock_timeout for the table.
-- squawk-ignore require-concurrent-index-creation
create index llm_cost_records_occurred on copilot_internal.llm_cost_records (occurred_at, cost_record_id);
-- squawk-ignore require-concurrent-index-creation
create index llm_cost_records_recorded on copilot_internal.llm_cost_records (recorded_at, cost_record_id);
-- squawk-ignore require-concurrent-index-creation
create index e2b_cost_records_occurred on copilot_internal.e2b_cost_records (occurred_at, cost_record_id);
-- squawk-ignore require-concurrent-index-creation
create index e2b_cost_records_recorded on copilot_internal.e2b_cost_records (recorded_at, cost_record_id);

do $$
begin
  if to_regclass('copilot_internal.cost_tail') is null or to_regclass('copilot_internal.cost_rollups_key') is null
     or (select count(*) from pg_trigger where tgname in ('llm_cost_records_tail', 'e2b_cost_records_tail')) <> 2
  then
    raise exception 'migration 0013 did not make its tables and triggers';
  end if;
end $$;
