-- write_audit: appends one change to the audit log, in the transaction that makes it.
-- p_action: "quota.update" and the like. p_subject: what was changed, as "quota:7". p_before, p_after: the thing itself, null
-- where there was none or is none any more; never a secret.
-- Who, from where and why: the transaction's setting purser.actor, { "principal", "ip", "reason" }
-- (set_config('purser.actor', ..., true)); without it the change was made in Postgres itself, by its role.
-- Locks: (3) the head of the chain, the last lock of a transaction: write after everything else is locked.
create or replace function copilot_internal.write_audit(p_action text, p_subject text, p_before jsonb, p_after jsonb)
returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_actor jsonb := coalesce(
    nullif(current_setting('purser.actor', true), '')::jsonb, jsonb_build_object('principal', 'postgres:' || session_user));
  v_head copilot_internal.audit_head;
  v_now timestamptz;
  v_id bigint;
begin
  select * into strict v_head from copilot_internal.audit_head for update;
  v_now := copilot_internal.clock_now();
  v_id := v_head.audit_id + 1;
  with entry as (
    insert into copilot_internal.audit_log (audit_id, at, principal, ip, action, subject, before, after, reason, hash, previous_hash)
    values (v_id, v_now, v_actor ->> 'principal', v_actor ->> 'ip', p_action, p_subject, p_before, p_after, v_actor ->> 'reason',
      copilot_internal.audit_hash(v_id, v_now, v_actor ->> 'principal', v_actor ->> 'ip', p_action, p_subject, p_before, p_after,
        v_actor ->> 'reason', v_head.hash),
      v_head.hash)
    returning audit_id, hash
  )
  update copilot_internal.audit_head h set audit_id = e.audit_id, hash = e.hash from entry e where h.one;
  return v_id;
end $$;
comment on function copilot_internal.write_audit(text, text, jsonb, jsonb) is 'Appends a change to the audit log; who made it is in the setting purser.actor.';
