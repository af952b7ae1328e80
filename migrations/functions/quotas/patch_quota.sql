-- patch_quota: change some settings of one quota; the others stay. Answers quota_json(), or null if there is no such
-- quota.
-- p_changes: what set_quotas() takes, without the natural key.
-- Locks: (0) exclusively, before the quota is read, so that of two changes at once neither is lost.
create or replace function copilot_internal.patch_quota(p_quota_id bigint, p_changes json)
returns json
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_quota copilot_internal.cost_quotas;
begin
  perform pg_advisory_xact_lock(copilot_internal.quota_lock());
  select * into v_quota from copilot_internal.cost_quotas q where q.quota_id = p_quota_id and q.deleted_at is null;
  if not found then
    return null;
  end if;
  return (
    select s.quota
    from copilot_internal.set_quotas(
      json_build_array(copilot_internal.quota_json(v_quota)::jsonb || p_changes::jsonb)) s);
end $$;
comment on function copilot_internal.patch_quota(bigint, json) is 'Changes some settings of one quota.';
