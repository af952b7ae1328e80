import { listAudit as readAudit, readAuditAfter, type AuditFilter, type StoredAudit } from '../../db/keys/audit.ts'
import type { Db } from '../../db/pool/connection.ts'
import { exactJson } from '../../domain/exact-json.ts'
import { timeText } from '../answers.ts'
import { pageOf, type PageOf } from '../page.ts'

/** Lists the changes of administrators, newest first. */
export async function listAudit(
  { db }: { db: Db },
  query: AuditFilter,
  beforeId: number | null,
  limit: number,
): Promise<PageOf<number>> {
  const entries = await readAudit(db, query, beforeId, limit + 1)
  return pageOf(entries, limit, auditAnswer, ({ audit_id: id }) => id)
}

const EXPORT_PAGE_ROWS = 1_000

/** Exports every entry, oldest first. Reads one page at a time. */
export async function* exportAudit({ db }: { db: Db }, query: AuditFilter): AsyncGenerator<object> {
  for (let afterId = 0; ;) {
    const entries = await readAuditAfter(db, query, afterId, EXPORT_PAGE_ROWS)
    yield* entries.map(auditAnswer)
    if (entries.length < EXPORT_PAGE_ROWS) return
    afterId = entries.at(-1)!.audit_id
  }
}

/** An entry in the form of answers and exports, with exact amounts. */
function auditAnswer(entry: StoredAudit): object {
  return {
    ...entry,
    at: timeText(entry.at),
    before: entry.before === null ? null : exactJson(entry.before),
    after: entry.after === null ? null : exactJson(entry.after),
  }
}
