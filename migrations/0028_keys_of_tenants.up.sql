-- An idempotency key belongs to its principal and its tenant. Until now one subject with tokens of two tenants could not use
-- a key for both. No statement of an older instance names these indexes, so it may go on beside this one.

-- A large database may have made it beforehand, concurrently: docs/operations.md.
-- The key stands before the tenant: keys that grow stay together, while those of a thousand tenants would lie in a thousand places.
-- squawk-ignore require-concurrent-index-creation -- the runner's file is one transaction; readers go on meanwhile
create unique index if not exists reservations_idempotency_of_tenant
  on copilot_internal.reservations (principal, idempotency_key, tenant_id) where idempotency_key is not null;
-- squawk-ignore require-concurrent-index-deletion -- an index is dropped in no time once its lock is there
drop index copilot_internal.reservations_idempotency;
alter index copilot_internal.reservations_idempotency_of_tenant rename to reservations_idempotency;

-- The tenant of a key is that of its line. Without the old primary key the update maintains no index but the BRIN.
alter table copilot_internal.record_keys add column tenant_id text;
alter table copilot_internal.record_keys drop constraint record_keys_pkey;
update copilot_internal.record_keys k
  set tenant_id = l.tenant_id
  from copilot_internal.llm_cost_records l
  where l.cost_record_id = k.cost_record_id and l.recorded_at = k.recorded_at
    -- Only the partitions that keys still name are read.
    and l.recorded_at >= (select min(o.recorded_at) from copilot_internal.record_keys o);
update copilot_internal.record_keys k
  set tenant_id = e.tenant_id
  from copilot_internal.e2b_cost_records e
  where e.cost_record_id = k.cost_record_id and e.recorded_at = k.recorded_at
    and e.recorded_at >= (select min(o.recorded_at) from copilot_internal.record_keys o);
-- Retention deletes keys before their lines. A key without a line could not be answered.
delete from copilot_internal.record_keys where tenant_id is null;
-- squawk-ignore adding-not-nullable-field -- the table is locked since its column was added
alter table copilot_internal.record_keys alter column tenant_id set not null;
-- squawk-ignore adding-serial-primary-key-field, constraint-missing-not-valid -- the table is locked since its column was added
alter table copilot_internal.record_keys add constraint record_keys_pkey primary key (principal, idempotency_key, tenant_id);
comment on table copilot_internal.record_keys is 'The idempotency key of a direct record, unique per principal and tenant; a record that came without one has its own id as its key.';

do $$
begin
  -- An index that was made beforehand may be another one, or one that CONCURRENTLY has left unfinished.
  if (select count(*) from pg_index i
      where i.indexrelid in (to_regclass('copilot_internal.reservations_idempotency'), to_regclass('copilot_internal.record_keys_pkey'))
        and i.indisvalid and pg_get_indexdef(i.indexrelid) like '%(principal, idempotency_key, tenant_id)%') <> 2 then
    raise exception 'migration 0028 did not make its indexes';
  end if;
end $$;
