import { sql, type RawBuilder } from 'kysely'
import type { Db } from '../pool/connection.ts'
import type { Wait } from '../pool/wait.ts'

/** Who makes a change: the principal, its address, the reason if given, and the wait of the caller if one waits for the change. */
export type Actor = { principal: string; ip: string | null; reason: string | null; wait?: Wait }

/** Writes an actor in the form that write_audit() reads. */
export function actorText({ principal, ip, reason }: Actor): string {
  return JSON.stringify({ principal, ip, reason })
}

/**
 * The common table expression `actor`, which sets the actor for the audit entry that an SQL function writes.
 *
 * It makes setting the actor and calling the function one statement. Decisions may wait for the function's locks, so no extra
 * round trip may happen while they are held. The statement must read `actor` before it calls the function:
 * `with ${actorCte(actor)} select f() from actor where actor.is_known is not null`.
 *
 * @param actor null: the audit log names the Postgres role.
 */
export function actorCte(actor: Actor | null): RawBuilder<unknown> {
  const text = actor === null ? '' : actorText(actor)
  return sql`actor as materialized (select set_config('purser.actor', ${text}, true) as is_known)`
}

/** A change: `action` such as "api_key.create", `subject` such as "api_key:…", and before and after without secrets. */
export type AuditedChange = { action: string; subject: string; before: object | null; after: object | null }

/** Appends a change to the audit log, within change(). Lock order: call it after the transaction has taken all its other locks. */
export async function writeAudit(transaction: Db, { action, subject, before, after }: AuditedChange): Promise<void> {
  const json = (value: object | null) => (value === null ? null : JSON.stringify(value))
  await sql`select copilot_internal.write_audit(${action}, ${subject}, ${json(before)}::jsonb, ${json(after)}::jsonb)`.execute(
    transaction,
  )
}

/** A stored entry. `before` and `after` are JSON text, so that amounts never become binary floats. */
export type StoredAudit = {
  audit_id: number
  at: Date
  principal: string
  ip: string | null
  action: string
  subject: string
  before: string | null
  after: string | null
  reason: string | null
  hash: string
  previous_hash: string | null
}

export type AuditFilter = {
  action?: string | undefined
  principal?: string | undefined
  /** Inclusive. */
  from?: string | undefined
}

/** Lists at most `rowsMax` entries before `beforeId` (null: from the newest), newest first. */
export function listAudit(
  db: Db,
  filter: AuditFilter,
  beforeId: number | null,
  rowsMax: number,
): Promise<StoredAudit[]> {
  const before = sql<boolean>`(${beforeId}::bigint is null or a.audit_id < ${beforeId})`
  return readAuditEntries(db, filter, before, sql`desc`, rowsMax)
}

/** Lists at most `rowsMax` entries after `afterId`, oldest first. */
export function readAuditAfter(db: Db, filter: AuditFilter, afterId: number, rowsMax: number): Promise<StoredAudit[]> {
  return readAuditEntries(db, filter, sql<boolean>`a.audit_id > ${afterId}`, sql`asc`, rowsMax)
}

async function readAuditEntries(
  db: Db,
  filter: AuditFilter,
  place: RawBuilder<boolean>,
  direction: RawBuilder<unknown>,
  rowsMax: number,
): Promise<StoredAudit[]> {
  const { rows } = await sql<StoredAudit & { audit_id: string }>`
    select a.audit_id, a.at, a.principal, a.ip, a.action, a.subject, a.before::text as before, a.after::text as after,
           a.reason, a.hash, a.previous_hash
    from copilot_internal.audit_log a
    where ${place}
      and (${filter.action ?? null}::text is null or a.action = ${filter.action ?? null})
      and (${filter.principal ?? null}::text is null or a.principal = ${filter.principal ?? null})
      and (${filter.from ?? null}::timestamptz is null or a.at >= ${filter.from ?? null}::timestamptz)
    order by a.audit_id ${direction}
    limit ${rowsMax}`.execute(db)
  return rows.map((row) => ({ ...row, audit_id: Number(row.audit_id) }))
}

/** The result of verifying the hash chain: its length, the hash of its last entry, and the entries that break it. */
export type AuditVerdict = {
  entries: number
  head_hash: string | null
  broken: { subject: string; detail: string }[]
}

export async function verifyAudit(db: Db): Promise<AuditVerdict> {
  const { rows } = await sql<{ verdict: AuditVerdict }>`
    select json_build_object(
      'entries', (select count(*) from copilot_internal.audit_log),
      'head_hash', (select a.hash from copilot_internal.audit_log a order by a.audit_id desc limit 1),
      'broken', (select coalesce(json_agg(json_build_object('subject', i.subject, 'detail', i.detail)), '[]')
                 from copilot_internal.audit_integrity() i)) as verdict`.execute(db)
  return rows[0]!.verdict
}
