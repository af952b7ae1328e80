-- put_quota_default: make or change an administrator's default quota, by set_quota_defaults(). Answers it, with
-- limit_usd as text.
-- p_default: { scope, resource_type, period, limit_usd, enforcement }.
-- Locks: (0) exclusively.
create or replace function copilot_internal.put_quota_default(p_default json)
returns json
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_key record;
  v_old copilot_internal.quota_defaults;
  v_new copilot_internal.quota_defaults;
begin
  perform pg_advisory_xact_lock(copilot_internal.quota_lock());
  select * into v_key
    from json_to_record(p_default) k(scope text, resource_type copilot_internal.resource_type, period text);
  select * into v_old from copilot_internal.quota_defaults d
    where (d.resource_type, d.scope, d.period) = (v_key.resource_type, v_key.scope, v_key.period);
  perform copilot_internal.set_quota_defaults(json_build_array(p_default));
  select * into v_new from copilot_internal.quota_defaults d
    where (d.resource_type, d.scope, d.period) = (v_key.resource_type, v_key.scope, v_key.period);
  perform copilot_internal.write_audit(
    case when copilot_internal.default_snapshot(v_old) is null then 'quota_default.create' else 'quota_default.update' end,
    format('quota_default:%s/%s/%s', v_key.scope, v_key.resource_type, v_key.period),
    copilot_internal.default_snapshot(v_old), copilot_internal.default_snapshot(v_new));
  return json_build_object(
    'scope', v_new.scope, 'resource_type', v_new.resource_type, 'period', v_new.period, 'limit_usd', v_new.limit_usd::text,
    'enforcement', v_new.enforcement, 'from_environment', v_new.from_environment, 'updated_at', v_new.updated_at);
end $$;
comment on function copilot_internal.put_quota_default(json) is 'Makes or changes a default quota.';
