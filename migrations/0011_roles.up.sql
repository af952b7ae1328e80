-- 0011 roles: who may do what in the database itself. The owner (whoever runs the migrations) has everything; what the
-- service works with is purser_service, and the reads of one tenant are purser_reader's. Roles are of the whole cluster:
-- another database may have made them already, or may be making them now.
--
-- Rights and row-level security follow from the catalog, so that a later table gets its own: see protect_schema().
do $$
declare
  v_role text;
begin
  foreach v_role in array array['purser_service', 'purser_reader'] loop
    continue when exists (select from pg_catalog.pg_roles r where r.rolname = v_role);
    begin
      execute format('create role %I nologin', v_role);
      -- Whoever is made by a role that is no superuser can be taken on by it once it is granted.
      execute format('grant %I to current_user', v_role);
    exception
      -- Another database was first.
      when duplicate_object or unique_violation then null;
      -- Told by protect_schema(): the service then works as its login.
      when insufficient_privilege then null;
    end;
  end loop;
end $$;
