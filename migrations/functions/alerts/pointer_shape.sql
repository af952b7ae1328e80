-- pointer_shape: a JSON pointer with * in place of each index of an array and each model of a session, so that all
-- items of a list share one pointer. At most 200 characters.
create or replace function copilot_internal.pointer_shape(p_pointer text)
returns text
language sql immutable strict
set search_path = pg_catalog, pg_temp
as $$
  select left(regexp_replace(p_pointer, '(?<=/modelUsage)/[^/]+|/[0-9]+(?=/|$)', '/*', 'g'), 200)
$$;
comment on function copilot_internal.pointer_shape(text) is 'A JSON pointer without the indexes of arrays and the models of a session.';
