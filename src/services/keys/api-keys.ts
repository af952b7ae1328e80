import { hash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { openClock, type DatabaseClock } from '../../db/pool/clock.ts'
import type { Db } from '../../db/pool/connection.ts'
import {
  configureKey,
  countKeys,
  insertKey,
  listKeys as readKeys,
  lockBootstrap,
  lockKey,
  revokeKey as revoke,
  rotateKey as rotate,
  type NewKey,
  type StoredKey,
} from '../../db/keys/api-keys.ts'
import { writeAudit, type Actor } from '../../db/keys/audit.ts'
import { change } from '../../db/pool/change.ts'
import { readInstant } from '../../domain/instant.ts'
import { invalidRequest, Problem } from '../../errors.ts'
import type { ApiKeyBody } from '../../schemas/api-keys.ts'
import { usdText } from '../../domain/money.ts'
import { amountOf } from '../amount.ts'
import { timeText, usdJson } from '../answers.ts'
import { pageOf, type PageOf } from '../page.ts'

const PREFIX = 'psr_'
const SHOWN_CHARACTERS = 12

/** The SHA-256 of a key in hexadecimal. Only this hash is stored and compared, never the key. */
export function hashKey(key: string): string {
  return hash('sha256', key, 'hex')
}

/** Generates a secret: psr_, 32 random bytes, and a CRC-32 that lets secret scanners recognise real keys. */
export function makeKey(): string {
  const body = PREFIX + randomBytes(32).toString('base64url')
  return body + crc32(body).toString(16).padStart(8, '0')
}

/**
 * Creates a key. Only this answer has the secret.
 *
 * @throws invalidRequest for an admin key that is bound to a tenant, and for a daily maximum with another role than service.
 */
export async function createKey(
  { db, clock }: { db: Db; clock: DatabaseClock },
  actor: Actor,
  body: ApiKeyBody,
): Promise<object> {
  if (body.role === 'admin' && body.tenant_id) {
    throw invalidRequest([
      { pointer: '/tenant_id', message: 'cannot be combined with role admin, which is for all tenants' },
    ])
  }
  if (body.max_record_usd_per_day != null && body.role !== 'service') {
    const message = 'goes with role service only: a viewer records nothing, and an administrator could make another key'
    throw invalidRequest([{ pointer: '/max_record_usd_per_day', message }])
  }
  const key = makeKey()
  const made: NewKey = {
    keyId: clock.newId(),
    name: body.name,
    role: body.role,
    tenantId: body.tenant_id ?? null,
    recordDayMaxUsd:
      body.max_record_usd_per_day == null
        ? null
        : usdText(amountOf(body.max_record_usd_per_day, '/max_record_usd_per_day')),
    expiresAt: body.expires_at ? readInstant(body.expires_at) : null,
    prefix: key.slice(0, SHOWN_CHARACTERS),
    hashHex: hashKey(key),
  }
  const { key_id, ...rest } = await change(db, actor, async (transaction) => {
    const after = keyAnswer(await insertKey(transaction, made))
    await writeAudit(transaction, { action: 'api_key.create', subject: `api_key:${made.keyId}`, before: null, after })
    return after
  })
  return { key_id, key, ...rest }
}

export function keyAnswer(stored: StoredKey) {
  const time = (at: Date | null) => (at === null ? null : timeText(at))
  return {
    key_id: stored.key_id,
    prefix: stored.prefix,
    name: stored.name,
    role: stored.role,
    tenant_id: stored.tenant_id,
    max_record_usd_per_day: stored.max_record_usd_per_day === null ? null : usdJson(stored.max_record_usd_per_day),
    created_at: timeText(stored.created_at),
    expires_at: time(stored.expires_at),
    last_used_at: time(stored.last_used_at),
    revoked_at: time(stored.revoked_at),
  }
}

/** The result of bootstrapAdminKey(): show `madeKey` once, and write `notes` to the log. */
export type Bootstrap = { madeKey: string | null; notes: string[] }

/**
 * Ensures that an administrator can sign in: with the configured key, or with a generated one if there are no keys at all.
 *
 * A new value of the setting revokes the previous value. A revoked value stays revoked, so an instance restarted with an old
 * setting changes nothing. Without the setting, nothing is revoked.
 */
export async function bootstrapAdminKey({ db }: { db: Db }, configured: string | undefined): Promise<Bootstrap> {
  if (configured === undefined && (await countKeys(db)) > 0) return { madeKey: null, notes: [] }
  const key = configured ?? makeKey()
  const keyId = (await openClock(db)).newId()
  return change(db, BY_THE_SETTING, async (transaction) => {
    await lockBootstrap(transaction)
    await insertKey(transaction, {
      keyId,
      name: 'bootstrap admin',
      role: 'admin',
      tenantId: null,
      recordDayMaxUsd: null,
      expiresAt: null,
      prefix: key.slice(0, configured === undefined ? SHOWN_CHARACTERS : 4),
      hashHex: hashKey(key),
    })
    if (configured === undefined) return { madeKey: key, notes: [] }
    const replaced = await configureKey(transaction, hashKey(key))
    if (replaced === null) return { madeKey: null, notes: [NOT_VALID] }
    for (const before of replaced) await revokeLocked(transaction, before)
    const notes = replaced.map(({ key_id: id }) => `PURSER_ADMIN_KEY has changed: its former key, ${id}, is revoked`)
    return { madeKey: null, notes }
  })
}

const BY_THE_SETTING: Actor = { principal: 'setting:PURSER_ADMIN_KEY', ip: null, reason: null }
const NOT_VALID =
  'PURSER_ADMIN_KEY is no valid key of an administrator: it was revoked, rotated or has expired, or its role is another. ' +
  'Nothing was changed; to get in with it, set a new value'

/** Lists keys in the order of their creation, without their secrets. */
export async function listKeys({ db }: { db: Db }, afterId: string | null, limit: number): Promise<PageOf<string>> {
  const keys = await readKeys(db, afterId, limit + 1)
  return pageOf(keys, limit, keyAnswer, ({ key_id }) => key_id)
}

/**
 * Gives a key a new secret; the old one stays valid for the overlap in seconds. Only this answer has the new secret. The
 * principal does not change, so its idempotency keys stay valid.
 *
 * @throws not_found for a key that is unknown, revoked or expired.
 */
export async function rotateKey(
  { db }: { db: Db },
  actor: Actor,
  keyId: string,
  overlapSeconds: number,
): Promise<object> {
  const key = makeKey()
  return change(db, actor, async (transaction) => {
    const before = await lockKey(transaction, keyId)
    const after = await rotate(transaction, keyId, hashKey(key), key.slice(0, SHOWN_CHARACTERS), overlapSeconds)
    if (before === null || after === null) {
      throw new Problem('not_found', `There is no key ${keyId} that could be rotated`)
    }
    const [action, subject] = ['api_key.rotate', `api_key:${keyId}`]
    await writeAudit(transaction, { action, subject, before: keyAnswer(before), after: keyAnswer(after) })
    const { key_id, ...rest } = keyAnswer(after)
    return { key_id, key, ...rest }
  })
}

/** Revokes a key. Does nothing if it is revoked already. @throws not_found */
export async function revokeKey({ db }: { db: Db }, actor: Actor, keyId: string): Promise<void> {
  await change(db, actor, async (transaction) => {
    const before = await lockKey(transaction, keyId)
    if (before === null) throw new Problem('not_found', `There is no key ${keyId}`)
    if (before.revoked_at === null) await revokeLocked(transaction, before)
  })
}

async function revokeLocked(transaction: Db, before: StoredKey): Promise<void> {
  const after = await revoke(transaction, before.key_id)
  const [action, subject] = ['api_key.revoke', `api_key:${before.key_id}`]
  await writeAudit(transaction, { action, subject, before: keyAnswer(before), after: keyAnswer(after) })
}
