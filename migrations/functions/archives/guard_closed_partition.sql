-- guard_closed_partition: trigger that refuses every change of a month that is being archived, so that its file and its
-- sums stay true.
create or replace function copilot_internal.guard_closed_partition()
returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception '% is closed: its records are being archived', tg_table_name using errcode = 'insufficient_privilege';
end $$;
comment on function copilot_internal.guard_closed_partition() is 'Trigger: refuses every change of a month that is being archived.';
