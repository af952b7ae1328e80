-- load_archived_records: insert records of an archive into the table of a restore. Columns are matched by name, so an
-- archive of an earlier release fits.
create or replace function copilot_internal.load_archived_records(p_partition text, p_records json)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_columns text;
begin
  select string_agg(quote_ident(c.attname), ', ' order by c.attnum) into v_columns
    from pg_attribute c
    where c.attrelid = to_regclass('copilot_partitions.' || quote_ident(p_partition)) and c.attnum > 0 and not c.attisdropped and c.attgenerated = '';
  execute format('insert into copilot_partitions.%1$I (%2$s) select %2$s from json_populate_recordset(null::copilot_partitions.%1$I, $1)',
    p_partition, v_columns) using p_records;
end $$;
comment on function copilot_internal.load_archived_records(text, json) is 'Inserts archived records into the table of a restore.';
