-- verify_archive: mark the file of a closed or restored month as read back and right, so that the month may be dropped.
-- Changes nothing if the month is not in the database.
create or replace function copilot_internal.verify_archive(p_partition text, p_content_sha256 text, p_file text)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  update copilot_internal.cost_archives a set state = 'verified', content_sha256 = p_content_sha256, file = p_file
  where a.partition = p_partition and a.state in ('closed', 'verified', 'restored')
$$;
comment on function copilot_internal.verify_archive(text, text, text) is 'Marks the file of a month of records as read back and right.';
