-- is_admin_source: whether a person has set a price, so that no package, feed or overlay moves it.
create or replace function copilot_internal.is_admin_source(p_source text)
  returns boolean
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog, pg_temp
as $$ select p_source = 'admin' or p_source like 'admin: %' $$;

comment on function copilot_internal.is_admin_source(text) is
  'Whether a source is an administrator: "admin", or "admin: " with where the figures are from.';
