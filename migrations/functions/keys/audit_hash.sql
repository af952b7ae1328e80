-- audit_hash: the SHA-256 of an entry of the audit log, in hexadecimal, over its content and the hash of the entry
-- before it. The content is the text of one jsonb array, whose form does not depend on any setting of a session.
create or replace function copilot_internal.audit_hash(
  p_audit_id bigint, p_at timestamptz, p_principal text, p_ip text, p_action text, p_subject text, p_before jsonb,
  p_after jsonb, p_reason text, p_previous_hash text
)
returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select encode(sha256(convert_to(jsonb_build_array(
    p_audit_id, (extract(epoch from p_at) * 1000000)::bigint, p_principal, p_ip, p_action, p_subject, p_before, p_after, p_reason,
    p_previous_hash)::text, 'UTF8')), 'hex')
$$;
comment on function copilot_internal.audit_hash(bigint, timestamptz, text, text, text, text, jsonb, jsonb, text, text) is 'The hash of an entry of the audit log.';
