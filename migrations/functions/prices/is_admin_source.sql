-- is_admin_source: whether an administrator has set a price. If so, no package, feed or overlay changes it.
create or replace function copilot_internal.is_admin_source(p_source text)
returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select p_source = 'admin' or p_source like 'admin: %' $$;
comment on function copilot_internal.is_admin_source(text) is 'Whether a source is an administrator: "admin", or "admin: " and where the figures are from.';
