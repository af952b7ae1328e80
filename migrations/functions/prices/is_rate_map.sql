-- is_rate_map: whether every name is known for its kind (mtok, unit, modifier) and every value is a decimal >= 0 as a
-- JSON string. A string, so that no client reads a rate through binary floating point. A known name, so that a typing
-- error is not a free bucket.
create or replace function copilot_internal.is_rate_map(p_rates jsonb, p_kind text)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_rate jsonb;
  v_known boolean;
begin
  if p_rates is null or jsonb_typeof(p_rates) <> 'object' then
    return false;
  end if;
  for v_name, v_rate in select e.key, e.value from jsonb_each(p_rates) e loop
    if jsonb_typeof(v_rate) <> 'string' or (v_rate #>> '{}') !~ '^[0-9]{1,9}(\.[0-9]{1,20})?$' then
      return false;
    end if;
    v_known := case p_kind
      when 'mtok' then v_name in (
        'input', 'cache_read', 'cache_read_audio', 'cache_read_image', 'cache_write', 'cache_write_1h', 'cache_write_12h',
        'audio_input', 'image_input', 'video_input', 'output', 'reasoning', 'audio_output', 'image_output', 'video_output')
      when 'unit' then v_name in ('web_search', 'request', 'request_low', 'request_medium', 'request_high')
      when 'modifier' then v_name in ('batch', 'flex', 'priority', 'fast', 'ultrafast') or v_name ~ '^region:[!-~]{1,200}$'
      else false
    end;
    if not v_known then
      return false;
    end if;
  end loop;
  return true;
end $$;
comment on function copilot_internal.is_rate_map(jsonb, text) is 'Whether every name is known for its kind (mtok, unit, modifier) and every value is a decimal >= 0 as a JSON string.';
