-- forget_archive: mark the file of an archived month as deleted, after its years. The month's sums stay.
create or replace function copilot_internal.forget_archive(p_partition text)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  update copilot_internal.cost_archives a set state = 'deleted' where a.partition = p_partition and a.state = 'archived'
$$;
comment on function copilot_internal.forget_archive(text) is 'Marks the file of an archived month as deleted.';
