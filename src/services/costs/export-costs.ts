import type { Db } from '../../db/pool/connection.ts'
import { readClockMicros } from '../../db/costs/costs.ts'
import { findExportPosition, readExportRows } from '../../db/costs/export-records.ts'
import type { ExportForm, ExportRow } from '../../domain/export-row.ts'
import { invalidRequest } from '../../errors.ts'
import { CSV } from '../../exports/csv.ts'
import { FOCUS } from '../../exports/focus.ts'
import { JSON_LINES } from '../../exports/jsonl.ts'
import type { CostFilter } from '../../schemas/costs.ts'
import { archivedProblem } from '../archives/archived.ts'
import { costRange } from './costs.ts'
import type { Principal } from '../keys/principal.ts'
import { recordFilter } from './record-filter.ts'

/** Rows read by one statement and held in memory at once. */
const PAGE_ROWS = 500

export const EXPORT_FORMS = { csv: CSV, jsonl: JSON_LINES, focus: FOCUS } as const satisfies Record<string, ExportForm>
export type ExportFormat = keyof typeof EXPORT_FORMS

/** A started export. Each of `chunks` is text of whole lines. */
export type CostExport = { contentType: string; chunks: AsyncIterable<string> }

/**
 * Exports cost records in the order in which they occurred, one row each. Reads the next page only when the consumer takes
 * it. The default range is the last 30 days.
 *
 * To resume, pass the cost_record_id of the last row that arrived as `cursor`. The rest then comes without a header, so that
 * both parts joined are the whole export. Each page is read by its own statement: a record booked during the export is
 * included if its place is still ahead.
 * @throws forbidden for another tenant; invalidRequest; archived; all before the first row. Later the iteration throws
 * database errors.
 */
export async function exportCosts(
  { db }: { db: Db },
  principal: Principal,
  { format, cursor, ...query }: CostFilter & { format: ExportFormat; cursor?: string },
): Promise<CostExport> {
  const form = EXPORT_FORMS[format]
  const filter = recordFilter(principal, query)
  const span = { ...filter, ...(await costRange(filter, null, () => readClockMicros(db))) }
  const start = cursor === undefined ? null : await findExportPosition(db, cursor, filter.tenantId)
  if (cursor !== undefined && start === null) {
    throw invalidRequest([{ pointer: 'cursor', message: 'is not the cost_record_id of a record in the database' }])
  }
  const readPage = async (last: ExportRow | null) => {
    const after = last === null ? start : { occurredAt: last.occurred_at, recordId: last.cost_record_id }
    const { rows, missing } = await readExportRows(db, span, after, PAGE_ROWS)
    if (missing.length > 0) throw archivedProblem(missing)
    return rows
  }
  const first = await readPage(null)
  async function* write() {
    if (start === null) yield form.header
    for (let rows = first; rows.length > 0;) {
      yield form.write(rows)
      rows = rows.length < PAGE_ROWS ? [] : await readPage(rows.at(-1)!)
    }
  }
  return { contentType: start === null ? form.contentType : form.restContentType, chunks: write() }
}
