import { listAudit as readAudit, type StoredAudit } from '../db/audit.ts'
import type { Db } from '../db/connection.ts'
import { toProblem } from '../db/faults.ts'
import { exactJson } from '../domain/exact-json.ts'
import { timeText } from './answers.ts'
import { pageOf, type PageOf } from './page.ts'

export type AuditQuery = { action?: string; principal?: string; from?: string }

/** What administrators changed, the newest first. @throws unavailable */
export async function listAudit(
  { db }: { db: Db },
  query: AuditQuery,
  beforeId: number | null,
  limit: number,
): Promise<PageOf<number>> {
  try {
    const entries = await readAudit(db, query, beforeId, limit + 1)
    return pageOf(entries, limit, auditAnswer, ({ audit_id: id }) => id)
  } catch (error) {
    throw toProblem(error)
  }
}

/** An entry as it is answered and exported, its amounts exact. */
export function auditAnswer(entry: StoredAudit): object {
  return {
    ...entry,
    at: timeText(entry.at),
    before: entry.before === null ? null : exactJson(entry.before),
    after: entry.after === null ? null : exactJson(entry.after),
  }
}
