import type { Db } from '../../db/pool/connection.ts'
import { listRecords, type RecordJson, type RecordPosition, type StoredRecord } from '../../db/costs/cost-records.ts'
import { exactJson } from '../../domain/exact-json.ts'
import type { CostFilter } from '../../schemas/costs.ts'
import { timeText, usdJson } from '../answers.ts'
import { archivedProblem } from '../archives/archived.ts'
import { pageOf, type PageOf } from '../page.ts'
import type { Principal } from '../keys/principal.ts'
import { recordFilter } from './record-filter.ts'

/**
 * Lists cost records, the last recorded first. Without `from`, lists only the records that are not archived.
 *
 * @throws forbidden for another tenant; invalidRequest; archived.
 */
export async function listCostRecords(
  { db }: { db: Db },
  principal: Principal,
  query: CostFilter,
  after: RecordPosition | null,
  limit: number,
): Promise<PageOf<RecordPosition>> {
  const filter = recordFilter(principal, query)
  const { rows, missing } = await listRecords(db, filter, after, limit + 1)
  if (missing.length > 0) throw archivedProblem(missing)
  return pageOf(rows, limit, listedAnswer, (last) => ({
    recordedMicros: last.recorded_micros,
    recordId: last.cost_record_id,
  }))
}

function listedAnswer({ recorded_micros: _, ...record }: StoredRecord): object {
  return recordAnswer(record)
}

/** A record in the form of answers. Fields that only estimates have are left out of other records. */
export function recordAnswer({
  estimate_reason: reason,
  unreadable_usage: unreadable,
  ...record
}: RecordJson | Omit<StoredRecord, 'recorded_micros'>): object {
  return {
    ...record,
    ...(reason === null ? {} : { estimate_reason: reason }),
    ...(unreadable === null ? {} : { unreadable_usage: exactJson(unreadable) }),
    usage: exactJson(record.usage),
    cost_usd: usdJson(record.cost_usd),
    price_id: record.price_id === null ? null : JSON.rawJSON(record.price_id),
    occurred_at: timeText(record.occurred_at),
    recorded_at: timeText(record.recorded_at),
  }
}
