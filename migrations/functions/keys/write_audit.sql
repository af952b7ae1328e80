-- write_audit: append changes to the audit log, in the transaction that makes them and in the given order. Answers the
-- id of the last entry.
-- p_changes: [{ action, subject, before, after }]. action: like "quota.update". subject: what was changed, like
-- "quota:7". before, after: the thing itself, null if there was none or is none any more; never a secret.
-- Who made the change, from where and why is in the transaction's setting purser.actor, { "principal", "ip", "reason" }
-- (set_config('purser.actor', ..., true)). Without it the change was made in Postgres itself, by its role.
-- The head of the chain is read and written once per call. Each update leaves an old version of its row, and the next
-- read would pass all of them: a thousand changes would cost a million steps.
-- Locks: (3) the head of the chain, the last lock of a transaction: call this after everything else is locked.
create or replace function copilot_internal.write_audit(p_changes jsonb[])
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
  v_change jsonb;
begin
  select * into strict v_head from copilot_internal.audit_head for update;
  v_now := copilot_internal.clock_now();
  foreach v_change in array p_changes loop
    v_head.audit_id := v_head.audit_id + 1;
    insert into copilot_internal.audit_log (audit_id, at, principal, ip, action, subject, before, after, reason, hash, previous_hash)
    select v_head.audit_id, v_now, v_actor ->> 'principal', v_actor ->> 'ip', c.action, c.subject, c.before, c.after,
           v_actor ->> 'reason',
           copilot_internal.audit_hash(v_head.audit_id, v_now, v_actor ->> 'principal', v_actor ->> 'ip', c.action, c.subject,
             c.before, c.after, v_actor ->> 'reason', v_head.hash),
           v_head.hash
    from (
      select v_change ->> 'action' as action, v_change ->> 'subject' as subject,
             nullif(v_change -> 'before', 'null') as before, nullif(v_change -> 'after', 'null') as after
    ) c
    returning hash into v_head.hash;
  end loop;
  update copilot_internal.audit_head h set audit_id = v_head.audit_id, hash = v_head.hash where h.one;
  return v_head.audit_id;
end $$;
comment on function copilot_internal.write_audit(jsonb[]) is 'Appends changes to the audit log; the setting purser.actor says who made them.';

-- The same for one change.
create or replace function copilot_internal.write_audit(p_action text, p_subject text, p_before jsonb, p_after jsonb)
returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select copilot_internal.write_audit(array[
    jsonb_build_object('action', p_action, 'subject', p_subject, 'before', p_before, 'after', p_after)])
$$;
comment on function copilot_internal.write_audit(text, text, jsonb, jsonb) is 'Appends a change to the audit log; the setting purser.actor says who made it.';
