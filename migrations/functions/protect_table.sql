-- protect_table: put row-level security on a table, forced for its owner too. The owner and the service see every row
-- (so that plans stay as they are), the reader sees the rows of the tenant that purser.tenant names, and others see
-- none.
-- Changes and locks the table only if something is missing. Needs the owner's rights.
create or replace function copilot_internal.protect_table(p_table regclass)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Evaluated once per statement, not per row. Without a tenant there is no row.
  v_tenant constant text := '(select nullif(current_setting(''purser.tenant'', true), ''''))';
  v_table record;
  v_policy record;
  v_old record;
begin
  select c.relname, c.relrowsecurity, c.relforcerowsecurity, quote_ident(pg_get_userbyid(c.relowner)) as owner,
         c.relnamespace = 'copilot_partitions'::regnamespace as is_partition,
         exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped) as has_tenant
    into strict v_table
    from pg_class c where c.oid = p_table;
  if not v_table.relrowsecurity or not v_table.relforcerowsecurity then
    execute format('alter table %s enable row level security, force row level security', p_table);
  end if;
  for v_policy in
    select w.name, w.verb, w.roles, w.condition
    from (values
      ('every_row', 'all',
       v_table.owner || case when not v_table.is_partition and to_regrole('purser_service') is not null then ', purser_service' else '' end,
       'true'),
      ('own_tenant', 'select', 'purser_reader', case
        when v_table.has_tenant then 'tenant_id = ' || v_tenant
        -- It names no tenant, but a line of cost, which names one.
        when v_table.relname = 'record_corrections' then
          'exists (select from copilot_internal.llm_cost_records r where r.cost_record_id = record_corrections.corrects)'
          || ' or exists (select from copilot_internal.e2b_cost_records r where r.cost_record_id = record_corrections.corrects)'
      end)
    ) w(name, verb, roles, condition)
    -- Only the owner reads a partition itself; others go through its table.
    where w.condition is not null
      and (w.name = 'every_row' or (not v_table.is_partition and to_regrole('purser_reader') is not null))
  loop
    select p.oid into v_old from pg_policy p where p.polrelid = p_table and p.polname = v_policy.name;
    -- The comment holds the condition as written here: Postgres shows it in another form.
    continue when found and obj_description(v_old.oid, 'pg_policy') = v_policy.roles || ': ' || v_policy.condition;
    execute format('drop policy if exists %I on %s', v_policy.name, p_table);
    execute format('create policy %I on %s for %s to %s using (%s)',
      v_policy.name, p_table, v_policy.verb, v_policy.roles, v_policy.condition);
    execute format('comment on policy %I on %s is %L', v_policy.name, p_table, v_policy.roles || ': ' || v_policy.condition);
  end loop;
end $$;
comment on function copilot_internal.protect_table(regclass) is 'Puts row-level security on a table: all rows for the owner and the service, those of one tenant for the reader.';
