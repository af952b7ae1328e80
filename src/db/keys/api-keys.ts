import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'

export type StoredKey = {
  key_id: string
  prefix: string
  name: string
  role: 'admin' | 'service' | 'viewer'
  tenant_id: string | null
  /** Decimal text. */
  max_record_usd_per_day: string | null
  created_at: Date
  expires_at: Date | null
  last_used_at: Date | null
  revoked_at: Date | null
}

export type NewKey = {
  keyId: string
  name: string
  role: 'admin' | 'service' | 'viewer'
  tenantId: string | null
  recordDayMaxUsd: string | null
  expiresAt: string | null
  prefix: string
  hashHex: string
}

/**
 * Stores a key by its hash, within a transaction. If the hash exists already, returns its key: two starts with the same
 * setting make only one key.
 */
export async function insertKey(transaction: Db, key: NewKey): Promise<StoredKey> {
  // Concurrent starts with the same setting wait here. All but the first then find its key.
  await sql`select pg_advisory_xact_lock(hashtextextended(${key.hashHex}, 0))`.execute(transaction)
  const { rows } = await sql<StoredKey>`
      insert into copilot_internal.api_keys (key_id, name, role, tenant_id, max_record_usd_per_day, prefix, created_at, expires_at)
      select ${key.keyId}, ${key.name}, ${key.role}, ${key.tenantId}, ${key.recordDayMaxUsd}::numeric, ${key.prefix}, copilot_internal.clock_now(), ${key.expiresAt}::timestamptz
      where not exists (select from copilot_internal.api_key_hashes where key_hash = decode(${key.hashHex}, 'hex'))
      returning *`.execute(transaction)
  const [made] = rows
  if (made !== undefined) {
    await sql`insert into copilot_internal.api_key_hashes (key_hash, key_id) values (decode(${key.hashHex}, 'hex'), ${key.keyId})`.execute(
      transaction,
    )
    return made
  }
  const known = await sql<StoredKey>`
      select k.* from copilot_internal.api_keys k
      join copilot_internal.api_key_hashes h on h.key_id = k.key_id and h.key_hash = decode(${key.hashHex}, 'hex')`.execute(
    transaction,
  )
  return known.rows[0]!
}

/**
 * Stores that a secret is the value of PURSER_ADMIN_KEY. Locks and returns the still valid keys that were its earlier
 * values. Null, with nothing changed, if it is not a valid secret of an administrator.
 */
export async function configureKey(transaction: Db, hashHex: string): Promise<StoredKey[] | null> {
  const { rows } = await sql<{ key_id: string }>`
    update copilot_internal.api_keys k set configured_at = coalesce(k.configured_at, now.at)
    from copilot_internal.api_key_hashes h cross join (select copilot_internal.clock_now() as at) now
    where h.key_id = k.key_id and h.key_hash = decode(${hashHex}, 'hex') and k.role = 'admin' and k.revoked_at is null
      and (k.expires_at is null or k.expires_at > now.at) and (h.valid_until is null or h.valid_until > now.at)
    returning k.key_id`.execute(transaction)
  const [key] = rows
  if (key === undefined) return null
  const earlier = await sql<StoredKey>`
    select k.* from copilot_internal.api_keys k
    join copilot_internal.api_keys configured on configured.key_id = ${key.key_id}
    where k.configured_at <= configured.configured_at and k.key_id <> configured.key_id and k.revoked_at is null
    order by k.key_id
    for update of k`.execute(transaction)
  return earlier.rows
}

/** Keeps other starts from creating or replacing a key until the transaction ends. */
export async function lockBootstrap(transaction: Db): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('PURSER_ADMIN_KEY', 0))`.execute(transaction)
}

export async function countKeys(db: Db): Promise<number> {
  const { rows } = await sql<{ keys: number }>`select count(*)::integer as keys from copilot_internal.api_keys`.execute(
    db,
  )
  return rows[0]!.keys
}

/**
 * Adds a secret to a key, within the caller's transaction. Its other secrets expire after the overlap, or at their own
 * expiry if that is earlier. Null if there is no such key, or if it is revoked or expired.
 */
export async function rotateKey(
  transaction: Db,
  keyId: string,
  hashHex: string,
  prefix: string,
  overlapSeconds: number,
): Promise<StoredKey | null> {
  const { rows } = await sql<StoredKey>`
    update copilot_internal.api_keys set prefix = ${prefix}
    where key_id = ${keyId} and revoked_at is null and (expires_at is null or expires_at > copilot_internal.clock_now())
    returning *`.execute(transaction)
  const [key] = rows
  if (key === undefined) return null
  await sql`
    update copilot_internal.api_key_hashes h
    set valid_until = least(h.valid_until, copilot_internal.clock_now() + make_interval(secs => ${overlapSeconds}))
    where h.key_id = ${keyId}`.execute(transaction)
  await sql`insert into copilot_internal.api_key_hashes (key_hash, key_id) values (decode(${hashHex}, 'hex'), ${keyId})`.execute(
    transaction,
  )
  return key
}

export type KeyOwner = {
  keyId: string
  role: 'admin' | 'service' | 'viewer'
  tenantId: string | null
  recordDayMaxUsd: string | null
}

/**
 * Finds the owner of a key if it is valid now: not revoked, not expired, and not replaced by a rotation. Stores the time of
 * its last use at most once a minute.
 */
export async function findKeyOwner(db: Db, hashHex: string): Promise<KeyOwner | null> {
  const { rows } = await sql<KeyOwner & { noted: boolean }>`
    select k.key_id as "keyId", k.role, k.tenant_id as "tenantId", k.max_record_usd_per_day as "recordDayMaxUsd",
           coalesce(k.last_used_at > now.at - interval '1 minute', false) as noted
    from copilot_internal.api_key_hashes h
    join copilot_internal.api_keys k on k.key_id = h.key_id
    cross join lateral (select copilot_internal.clock_now() as at) now
    where h.key_hash = decode(${hashHex}, 'hex') and k.revoked_at is null
      and (k.expires_at is null or k.expires_at > now.at) and (h.valid_until is null or h.valid_until > now.at)`.execute(
    db,
  )
  const [owner] = rows
  if (owner === undefined) return null
  if (!owner.noted) {
    // Skip the update if another request is storing it right now, so that this request does not wait for a lock.
    await sql`
      update copilot_internal.api_keys set last_used_at = copilot_internal.clock_now()
      where key_id = (select key_id from copilot_internal.api_keys where key_id = ${owner.keyId} for no key update skip locked)`.execute(
      db,
    )
  }
  const { noted: _noted, ...rest } = owner
  return rest
}

/** Lists at most `rowsMax` keys after a key id, in the order of their creation. */
export async function listKeys(db: Db, afterId: string | null, rowsMax: number): Promise<StoredKey[]> {
  const { rows } = await sql<StoredKey>`
    select * from copilot_internal.api_keys
    where ${afterId}::uuid is null or key_id > ${afterId}::uuid
    order by key_id limit ${rowsMax}`.execute(db)
  return rows
}

/** Locks a key's row until the transaction ends, and reads it; null if there is none. */
export async function lockKey(transaction: Db, keyId: string): Promise<StoredKey | null> {
  const { rows } = await sql<StoredKey>`
    select * from copilot_internal.api_keys where key_id = ${keyId} for update`.execute(transaction)
  return rows[0] ?? null
}

/** Revokes a key that the transaction has locked. */
export async function revokeKey(transaction: Db, keyId: string): Promise<StoredKey> {
  const { rows } = await sql<StoredKey>`
    update copilot_internal.api_keys set revoked_at = copilot_internal.clock_now()
    where key_id = ${keyId} returning *`.execute(transaction)
  return rows[0]!
}
