-- audit_integrity: invariant I11: the entries of the audit log that do not fit their hash, the entry before them, or
-- the head of the chain; no row means healthy. Reads the whole log.
create or replace function copilot_internal.audit_integrity()
returns table (invariant text, subject text, detail text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with chain as (
    select a.*, lag(a.audit_id, 1, 0::bigint) over w as id_before, lag(a.hash) over w as hash_before
    from copilot_internal.audit_log a
    window w as (order by a.audit_id)
  ),
  last as (
    select coalesce(max(a.audit_id), 0) as audit_id, (array_agg(a.hash order by a.audit_id desc))[1] as hash
    from copilot_internal.audit_log a
  )
  select 'I11', 'audit ' || c.audit_id, 'its hash is not that of its content'
  from chain c
  where c.hash <> copilot_internal.audit_hash(
    c.audit_id, c.at, c.principal, c.ip, c.action, c.subject, c.before, c.after, c.reason, c.previous_hash)
  union all
  select 'I11', 'audit ' || c.audit_id, format('the entry before it is %s: some are missing', c.id_before)
  from chain c where c.id_before <> c.audit_id - 1
  union all
  select 'I11', 'audit ' || c.audit_id, 'its previous_hash is not the hash of the entry before it'
  from chain c where c.previous_hash is distinct from c.hash_before
  union all
  select 'I11', 'audit head', format('the chain ends with entry %s, its head says %s', l.audit_id, coalesce(h.audit_id::text, 'nothing'))
  from last l left join copilot_internal.audit_head h on true
  where (l.audit_id, l.hash) is distinct from (h.audit_id, h.hash)
$$;
comment on function copilot_internal.audit_integrity() is 'The entries that break the audit chain (I11); no row means healthy.';
