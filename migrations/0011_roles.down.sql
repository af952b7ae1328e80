-- 0011 roles, undone: policies, row-level security and rights of this database. The roles stay: they are of the whole
-- cluster, and another database may use them (`drop role purser_service, purser_reader` where none does).
do $$
declare
  v_object record;
  v_role text;
begin
  for v_object in
    select c.oid::regclass as name, p.polname
    from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
    where c.relnamespace::regnamespace::text in ('copilot_internal', 'copilot_partitions')
  loop
    execute format('drop policy %I on %s', v_object.polname, v_object.name);
  end loop;
  for v_object in
    select c.oid::regclass as name from pg_catalog.pg_class c
    where c.relnamespace::regnamespace::text in ('copilot_internal', 'copilot_partitions') and c.relrowsecurity
  loop
    execute format('alter table %s no force row level security, disable row level security', v_object.name);
  end loop;
  for v_role in select r.rolname from pg_catalog.pg_roles r where r.rolname in ('purser_service', 'purser_reader') loop
    execute format('revoke all on all tables in schema copilot_internal from %I', v_role);
    execute format('revoke all on schema copilot_internal from %I', v_role);
  end loop;
  for v_object in
    select p.oid::regprocedure as name from pg_catalog.pg_proc p
    join pg_catalog.pg_language l on l.oid = p.prolang
    where p.pronamespace = 'copilot_internal'::regnamespace and l.lanname <> 'internal'
  loop
    for v_role in select r.rolname from pg_catalog.pg_roles r where r.rolname in ('purser_service', 'purser_reader') loop
      execute format('revoke execute on function %s from %I', v_object.name, v_role);
    end loop;
    execute format('grant execute on function %s to public', v_object.name);
  end loop;
end $$;
