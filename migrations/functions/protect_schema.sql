-- protect_schema: set the rights of purser_service and purser_reader, and row-level security, on everything in the
-- schema. The migrations' runner calls it after each run, so that no new table, view or function is forgotten. What is
-- right already is left alone, without a lock.
--
-- Only the service may execute functions, except for those that the reader needs. Tables that functions decide about
-- (money, prices, audit) the service may only read: these functions run with their owner's rights. Tables that are not
-- named here the service may write.
-- Answers what could not be protected, in words for the operator; no row if everything is.
create or replace function copilot_internal.protect_schema()
returns setof text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_roles text[] := array['purser_service', 'purser_reader'];
  -- Only functions write these.
  v_decided constant text[] := array[
    'reservations', 'llm_cost_records', 'e2b_cost_records', 'record_keys', 'record_days', 'record_corrections', 'cost_quotas', 'quota_periods',
    'quota_defaults', 'scopes', 'quota_events', 'model_pricing', 'model_aliases', 'e2b_pricing', 'price_edition', 'audit_log',
    'audit_head', 'cost_tail', 'cost_rollups', 'cost_archives', 'archived_costs', 'archived_periods', 'line_facts', 'line_facts_walk',
    'cache_secret', 'name_counts'];
  -- These hold no data of tenants, so they have no row-level security.
  v_common constant text[] := array[
    'model_pricing', 'model_aliases', 'e2b_pricing', 'price_edition', 'price_seed', 'quota_defaults', 'webhook_secrets',
    'line_facts_walk'];
  v_read constant text[] := array[
    'reservations', 'llm_cost_records', 'e2b_cost_records', 'record_corrections', 'cost_quotas', 'quota_periods', 'quota_events',
    'cost_quota_status', 'model_pricing', 'model_aliases', 'e2b_pricing', 'price_edition', 'cost_tail', 'cost_rollups', 'rolled_costs'];
  v_called constant text[] := array[
    'clock_now', 'period_bounds', 'billing_date', 'local_midnight', 'quota_json', 'reservation_json', 'cost_record_json',
    'get_quota_status', 'get_current_model_pricing', 'find_model_price', 'find_model_card', 'resolve_model', 'price_llm_usage', 'price_e2b_usage', 'priced_tier',
    'calculate_llm_cost', 'calculate_e2b_cost', 'cost_segments', 'nearest_cost_grain', 'cost_grain_floor', 'archived_between'];
  v_object record;
  v_wanted record;
  v_has text[];
  v_role text;
begin
  foreach v_role in array v_roles loop
    if to_regrole(v_role) is null then
      return next format('the role %s is not there, and %s may not make it', v_role, current_user);
    elsif not pg_has_role(current_user, v_role, 'member') then
      begin
        execute format('grant %I to current_user', v_role);
      exception when insufficient_privilege then
        return next format('the role %s was not granted to %s', v_role, current_user);
      end;
    end if;
  end loop;

  -- The product's own tables. Those of the migrations' runner are left out, because every run needs them.
  for v_object in
    select c.oid::regclass as name from pg_class c
    where c.relkind in ('r', 'p') and c.relnamespace in ('copilot_internal'::regnamespace, 'copilot_partitions'::regnamespace)
      and not (c.relnamespace = 'copilot_internal'::regnamespace and (c.relname = any (v_common) or c.relname like 'schema\_%'))
    order by c.oid
  loop
    perform copilot_internal.protect_table(v_object.name);
  end loop;

  select array_agg(r.role) into v_roles from unnest(v_roles) r(role) where to_regrole(r.role) is not null;
  foreach v_role in array coalesce(v_roles, '{}') loop
    if not exists (
      select from pg_namespace n cross join lateral aclexplode(n.nspacl) a
      where n.nspname = 'copilot_internal' and a.grantee = v_role::regrole and a.privilege_type = 'USAGE'
    ) then
      execute format('grant usage on schema copilot_internal to %I', v_role);
    end if;
  end loop;

  -- Tables and views get exactly these rights.
  for v_wanted in
    select c.oid::regclass as name, w.role, w.rights,
           (select coalesce(array_agg(a.privilege_type order by a.privilege_type), '{}')
            from aclexplode(c.relacl) a where a.grantee = w.role::regrole) as has
    from pg_class c
    cross join lateral (
      select r.role, case
        -- The views of sums show what the reader may see in their tables.
        when r.role = 'purser_reader' then case when c.relname = any (v_read) or c.relkind = 'v' and c.relname ~ 'cost_summary_by_' then array['SELECT'] else '{}' end
        when c.relkind = 'v' or c.relname = any (v_decided) or c.relname like 'schema\_%' then array['SELECT']
        when c.relname in ('api_keys', 'api_key_hashes') then array['INSERT', 'SELECT']
        when c.relname = 'price_seed' then array['INSERT', 'SELECT', 'UPDATE']
        else array['DELETE', 'INSERT', 'SELECT', 'UPDATE']
      end as rights
      from unnest(v_roles) r(role)
    ) w
    where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind in ('r', 'p', 'v')
    order by c.oid, w.role
  loop
    continue when v_wanted.rights = v_wanted.has;
    execute format('revoke all on %s from %I', v_wanted.name, v_wanted.role);
    if v_wanted.rights <> '{}' then
      execute format('grant %s on %s to %I', array_to_string(v_wanted.rights, ', '), v_wanted.name, v_wanted.role);
    end if;
  end loop;
  -- Single columns. Of a key only what changes in its life, never its role or tenant.
  for v_wanted in
    select k.tab, k.col
    from (values
      ('api_keys', 'prefix'), ('api_keys', 'last_used_at'), ('api_keys', 'revoked_at'), ('api_keys', 'configured_at'),
      ('api_key_hashes', 'valid_until'),
      -- When the feed was read last. Only functions write the edition itself.
      ('price_edition', 'fed_at')
    ) k(tab, col)
    join pg_attribute a on a.attrelid = to_regclass('copilot_internal.' || k.tab) and a.attname = k.col
    where 'purser_service' = any (v_roles)
      and not exists (select from aclexplode(a.attacl) x where x.grantee = to_regrole('purser_service'))
  loop
    execute format('grant update (%I) on copilot_internal.%I to purser_service', v_wanted.col, v_wanted.tab);
  end loop;

  for v_object in
    select p.oid::regprocedure as name, p.proname = any (v_called) as is_read, p.proacl is null as is_new,
           array(select a.grantee from aclexplode(p.proacl) a) as grantees
    from pg_proc p
    join pg_language l on l.oid = p.prolang
    -- The constructors of types belong to Postgres and are left alone.
    where p.pronamespace = 'copilot_internal'::regnamespace and l.lanname <> 'internal'
    order by p.oid
  loop
    if v_object.is_new or 0 = any (v_object.grantees) then
      execute format('revoke execute on function %s from public', v_object.name);
    end if;
    foreach v_role in array coalesce(v_roles, '{}') loop
      if v_role = 'purser_service' or v_object.is_read then
        if not v_role::regrole::oid = any (v_object.grantees) then
          execute format('grant execute on function %s to %I', v_object.name, v_role);
        end if;
      elsif v_role::regrole::oid = any (v_object.grantees) then
        execute format('revoke execute on function %s from %I', v_object.name, v_role);
      end if;
    end loop;
  end loop;

  -- The job queue belongs to its package, and the service may do everything in it. Its tables have row-level security
  -- without a policy, which lets only their owner in; so they get one.
  if to_regnamespace('copilot_jobs') is not null and 'purser_service' = any (v_roles) then
    if not has_schema_privilege('purser_service', 'copilot_jobs', 'usage') then
      grant usage on schema copilot_jobs to purser_service;
    end if;
    for v_object in
      select c.oid::regclass as name, c.relkind, c.relrowsecurity and not exists (select from pg_policy y where y.polrelid = c.oid) as is_shut,
             exists (select from aclexplode(c.relacl) a where a.grantee = 'purser_service'::regrole) as is_granted
      from pg_class c
      where c.relnamespace = 'copilot_jobs'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
      order by c.oid
    loop
      if v_object.is_shut then
        execute format('create policy every_row on %s to purser_service using (true)', v_object.name);
      end if;
      if not v_object.is_granted then
        execute format('grant all on %s %s to purser_service', case v_object.relkind when 'S' then 'sequence' else 'table' end, v_object.name);
      end if;
    end loop;
  end if;
end $$;
comment on function copilot_internal.protect_schema() is 'Sets the rights of the service and the reader, and row-level security, on everything in the schema; answers what could not be set.';
