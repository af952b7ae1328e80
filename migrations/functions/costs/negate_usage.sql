-- negate_usage: a usage with every number negated, those of its steps too, for the reversal of a line. Texts stay as
-- they are.
create or replace function copilot_internal.negate_usage(p_usage jsonb)
returns jsonb
language sql immutable strict
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(e.key, case jsonb_typeof(e.value)
      when 'number' then to_jsonb(-(e.value::numeric))
      when 'array' then (
        select coalesce(jsonb_agg(case jsonb_typeof(s.value) when 'object' then copilot_internal.negate_usage(s.value) else s.value end
          order by s.nth), '[]')
        from jsonb_array_elements(e.value) with ordinality s(value, nth))
      else e.value end), '{}')
  from jsonb_each(p_usage) e
$$;
comment on function copilot_internal.negate_usage(jsonb) is 'A usage with every number negated.';
