import { sql } from 'kysely'
import { readForTenant, readReport, type Db } from '../pool/connection.ts'
import { costLines, recordMatches, readMissing, type RecordFilter } from './cost-records.ts'
import type { ExportRow } from '../../domain/export-row.ts'

/** A position in an export: the record after which the next page begins. */
export type ExportPosition = { occurredAt: string; recordId: string }

/**
 * Reads at most `rowsMax` records after the position `after`, in the order in which they occurred. `missing` names the
 * archived months that have records of the time range.
 */
export function readExportRows(
  db: Db,
  filter: RecordFilter & { fromMicros: bigint; toMicros: bigint },
  after: ExportPosition | null,
  rowsMax: number,
): Promise<{ rows: ExportRow[]; missing: string[] }> {
  const behind =
    after === null
      ? sql`true`
      : sql`r.occurred_at >= ${after.occurredAt}::timestamptz
          and (r.occurred_at, r.cost_record_id) > (${after.occurredAt}::timestamptz, ${after.recordId}::uuid)`
  const time = (column: string) =>
    sql`to_char(${sql.ref(column)} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as ${sql.ref(column.slice(2))}`
  return readReport(db, filter.tenantId ?? null, async (transaction) => {
    const { rows } = await sql<ExportRow>`
      select r.cost_record_id, r.reservation_id, r.resource_type, r.tenant_id, r.user_id, r.conversation_id, r.path_id,
             r.labels::text as labels, r.provider, r.model, r.tier, r.usage::text as usage,
             trim_scale(r.total_cost_usd)::text as cost_usd, r.price_id::text as price_id,
             ${time('r.occurred_at')}, ${time('r.recorded_at')}, r.late, r.overrun, r.estimated, r.corrects,
             r.region, r.sandbox_id,
             case when coalesce(r.input_tokens, r.output_tokens) is not null
               then (coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0))::text end as total_tokens,
             trim_scale(r.seconds)::text as seconds
      from (
        select r.* from ${costLines} r
        where ${recordMatches(filter)} and ${behind}
        order by r.occurred_at, r.cost_record_id
        limit ${rowsMax}) r
      order by r.occurred_at, r.cost_record_id`.execute(transaction)
    return { rows, missing: await readMissing(transaction, filter) }
  })
}

/** Finds the position of a record; null if there is no record with that id, or if it belongs to another tenant. */
export async function findExportPosition(
  db: Db,
  recordId: string,
  tenantId: string | undefined,
): Promise<ExportPosition | null> {
  const { rows } = await readForTenant(db, tenantId ?? null, (transaction) =>
    sql<{ occurred_at: string }>`
      select r.occurred_at::text as occurred_at from ${costLines} r
      where r.cost_record_id = ${recordId}::uuid
        and (${tenantId ?? null}::text is null or r.tenant_id = ${tenantId ?? null})`.execute(transaction),
  )
  const [found] = rows
  return found === undefined ? null : { occurredAt: found.occurred_at, recordId }
}
