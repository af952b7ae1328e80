-- The release before knows a key of a principal once. Where several tenants use it, the first one keeps it. The old release
-- refuses a repeat of the others as it always did: their hash has another tenant.
delete from copilot_internal.record_keys k
  using (
    select o.principal, o.tenant_id, o.idempotency_key,
           row_number() over (partition by o.principal, o.idempotency_key order by o.recorded_at, o.tenant_id) as nth
    from copilot_internal.record_keys o
  ) n
  where n.nth > 1 and k.principal = n.principal and k.tenant_id = n.tenant_id and k.idempotency_key = n.idempotency_key;
alter table copilot_internal.record_keys drop constraint record_keys_pkey;
-- protect_schema() makes it for every table that has a tenant.
drop policy if exists own_tenant on copilot_internal.record_keys;
alter table copilot_internal.record_keys drop column tenant_id;
-- squawk-ignore adding-serial-primary-key-field, constraint-missing-not-valid -- the table is locked since its column was dropped
alter table copilot_internal.record_keys add constraint record_keys_pkey primary key (principal, idempotency_key);
comment on table copilot_internal.record_keys is 'The idempotency key of a direct record, unique per principal; a record that came without one has its own id as its key.';

update copilot_internal.reservations r
  set idempotency_key = null
  from (
    select o.reservation_id, row_number() over (partition by o.principal, o.idempotency_key order by o.created_at, o.reservation_id) as nth
    from copilot_internal.reservations o
    where o.idempotency_key is not null
  ) n
  where n.nth > 1 and r.reservation_id = n.reservation_id;
-- squawk-ignore require-concurrent-index-deletion -- an index is dropped in no time once its lock is there
drop index copilot_internal.reservations_idempotency;
-- squawk-ignore require-concurrent-index-creation -- the runner's file is one transaction
create unique index reservations_idempotency on copilot_internal.reservations (principal, idempotency_key) where idempotency_key is not null;
