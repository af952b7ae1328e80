-- delete_quota_default: delete a default quota: scopes that are seen first from now on get none. Quotas that it has
-- made stay, because removing a limit is a decision about each of them. Answers whether there was such a default.
-- Locks: (0) exclusively.
create or replace function copilot_internal.delete_quota_default(
  p_scope text, p_resource_type copilot_internal.resource_type, p_period text
)
returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_old copilot_internal.quota_defaults;
begin
  perform pg_advisory_xact_lock(copilot_internal.quota_lock());
  select * into v_old from copilot_internal.quota_defaults d
    where (d.resource_type, d.scope, d.period) = (p_resource_type, p_scope, p_period) and d.deleted_at is null;
  if not found then
    return false;
  end if;
  -- It counts as an administrator's from now on, so that no start of the service brings it back.
  update copilot_internal.quota_defaults d
    set deleted_at = copilot_internal.clock_now(), updated_at = copilot_internal.clock_now(), from_environment = false, pending = false
    where (d.resource_type, d.scope, d.period) = (p_resource_type, p_scope, p_period);
  perform copilot_internal.write_audit('quota_default.delete', format('quota_default:%s/%s/%s', p_scope, p_resource_type, p_period),
    copilot_internal.default_snapshot(v_old), null);
  return true;
end $$;
comment on function copilot_internal.delete_quota_default(text, copilot_internal.resource_type, text) is 'Deletes a default quota; quotas that it has made stay.';
