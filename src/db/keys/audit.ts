import { sql, type RawBuilder } from 'kysely'
import type { Db } from '../pool/connection.ts'
import type { Wait } from '../pool/wait.ts'

/** Who makes a change: a principal, from where, perhaps why, and where a caller waits for it, that wait. */
export type Actor = { principal: string; ip: string | null; reason: string | null; wait?: Wait }

/** As write_audit() reads it. */
export function actorText({ principal, ip, reason }: Actor): string {
  return JSON.stringify({ principal, ip, reason })
}

/**
 * Tells who makes a change that one function makes, its entry included, as one statement: where decisions wait for it, they
 * must not wait for the way to us and back. The query `actor`, to be read before the function is called:
 * `with ${actorCte(actor)} select f() from actor where actor.is_known is not null`.
 *
 * @param actor null: Postgres itself, by its role.
 */
export function actorCte(actor: Actor | null): RawBuilder<unknown> {
  const told = actor === null ? '' : actorText(actor)
  return sql`actor as materialized (select set_config('purser.actor', ${told}, true) as is_known)`
}

/** What was changed: `action` as "api_key.create", `subject` as "api_key:…", before and after without any secret. */
export type AuditedChange = { action: string; subject: string; before: object | null; after: object | null }

/** Appends a change to the audit log, within change(), after everything else of the transaction is locked. */
export async function writeAudit(transaction: Db, { action, subject, before, after }: AuditedChange): Promise<void> {
  const json = (value: object | null) => (value === null ? null : JSON.stringify(value))
  await sql`select copilot_internal.write_audit(${action}, ${subject}, ${json(before)}::jsonb, ${json(after)}::jsonb)`.execute(
    transaction,
  )
}

/** An entry as it is stored; `before` and `after` are JSON text, so that no amount is floated. */
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

/** Entries before `beforeId` (null: from the newest), at most `rowsMax`, the newest first. */
export function listAudit(
  db: Db,
  filter: AuditFilter,
  beforeId: number | null,
  rowsMax: number,
): Promise<StoredAudit[]> {
  const before = sql<boolean>`(${beforeId}::bigint is null or a.audit_id < ${beforeId})`
  return readAuditEntries(db, filter, before, sql`desc`, rowsMax)
}

/** Entries after `afterId`, at most `rowsMax`, the oldest first. */
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

/** Whether the chain verifies: its length, the hash of its last entry, and what breaks it. */
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
