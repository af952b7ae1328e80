-- delete_quota: delete one quota (rule 8): its running balance is closed, and open holds settle there. The row stays,
-- so that no default replaces it; set_quotas() revives it. Answers quota_json(), or null if there is no such quota.
-- Locks: (0) exclusively, so that no decision works with a deleted quota.
create or replace function copilot_internal.delete_quota(p_quota_id bigint)
returns json
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_now timestamptz;
  v_quota copilot_internal.cost_quotas;
begin
  perform pg_advisory_xact_lock(copilot_internal.quota_lock());
  v_now := copilot_internal.clock_now();
  update copilot_internal.cost_quotas q set deleted_at = v_now, updated_at = v_now
    where q.quota_id = p_quota_id and q.deleted_at is null
    returning * into v_quota;
  if not found then
    return null;
  end if;
  update copilot_internal.quota_periods p set closed_at = v_now
    where p.quota_id = p_quota_id and p.closed_at is null and p.ends_at > v_now;
  update copilot_internal.scopes s set valid_until = '-infinity'
    where s.resource_type = v_quota.resource_type and s.tenant_id = coalesce(v_quota.tenant_id, '')
      and s.user_id = coalesce(v_quota.user_id, '');
  perform copilot_internal.write_audit('quota.delete', 'quota:' || p_quota_id, copilot_internal.quota_snapshot(v_quota), null);
  return copilot_internal.quota_json(v_quota);
end $$;
comment on function copilot_internal.delete_quota(bigint) is 'Deletes a quota and closes its running balance.';
