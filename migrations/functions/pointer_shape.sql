-- pointer_shape: a JSON pointer with * for each index of an array, 200 characters at most, so that it is one whichever item it is of.
create or replace function copilot_internal.pointer_shape(p_pointer text)
returns text
language sql immutable strict
set search_path = pg_catalog, pg_temp
as $$
  select left(regexp_replace(p_pointer, '/[0-9]+(?=/|$)', '/*', 'g'), 200)
$$;
comment on function copilot_internal.pointer_shape(text) is 'A JSON pointer without the indexes of arrays.';
