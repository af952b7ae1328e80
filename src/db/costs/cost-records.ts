import { sql, type RawBuilder } from 'kysely'
import { readReport, type Db } from '../pool/connection.ts'

/** Selects cost records; undefined fields are ignored. Times are microseconds since 1970-01-01T00:00:00Z. */
export type RecordFilter = {
  resourceType?: string | undefined
  tenantId?: string | undefined
  userId?: string | undefined
  conversationId?: string | undefined
  pathId?: string | undefined
  /** The record has each of these labels with this value. */
  labels?: Record<string, string> | undefined
  provider?: string | undefined
  model?: string | undefined
  tier?: string | undefined
  reservationId?: string | undefined
  /** Earliest time at which it occurred, inclusive. */
  fromMicros?: bigint | undefined
  /** Latest time at which it occurred, exclusive. */
  toMicros?: bigint | undefined
  late?: boolean | undefined
  overrun?: boolean | undefined
  estimated?: boolean | undefined
}

/** A cost record of either resource type. Numerics are decimal text; `usage` and `unreadable_usage` are JSON text. */
export type StoredRecord = {
  cost_record_id: string
  reservation_id: string | null
  resource_type: 'llm' | 'e2b'
  tenant_id: string
  user_id: string | null
  conversation_id: string | null
  path_id: string | null
  labels: Record<string, string>
  provider: string | null
  model: string | null
  tier: string | null
  usage: string
  cost_usd: string
  price_id: string | null
  occurred_at: Date
  recorded_at: Date
  recorded_micros: string
  late: boolean
  overrun: boolean
  estimated: boolean
  corrects: string | null
  /** Why it is an estimate. Null if it is none, and for records from before migration 0020. */
  estimate_reason: string | null
  /** The usage that could not be read, and why; null if the usage was read. */
  unreadable_usage: string | null
}

/** The records of both tables as one relation. Postgres pushes conditions on it down to the tables, so their indexes are used. */
export const costLines = sql`(
  select cost_record_id, reservation_id, 'llm' as resource_type, tenant_id, user_id, conversation_id, path_id, labels,
         provider, model, null::text as tier, usage, input_tokens, output_tokens, null::numeric as seconds,
         total_cost_usd, price_id, occurred_at, recorded_at, late, overrun, estimated, corrects, region, null::text as sandbox_id,
         estimate_reason, unreadable_usage
  from copilot_internal.llm_cost_records
  union all
  select cost_record_id, reservation_id, 'e2b', tenant_id, user_id, conversation_id, path_id, labels,
         null::text, null::text, tier, usage, null::bigint, null::bigint, execution_time_seconds,
         total_cost_usd, price_id, occurred_at, recorded_at, late, overrun, estimated, corrects, region, sandbox_id,
         estimate_reason, null::jsonb
  from copilot_internal.e2b_cost_records)`

/** The SQL condition of a filter on the records `r`. */
export function recordMatches(filter: RecordFilter): RawBuilder<boolean> {
  const conditions = [sql`true`]
  const equals = (column: string, value: string | boolean | undefined) => {
    if (value !== undefined) conditions.push(sql`${sql.ref(`r.${column}`)} = ${value}`)
  }
  equals('resource_type', filter.resourceType)
  equals('tenant_id', filter.tenantId)
  equals('user_id', filter.userId)
  equals('conversation_id', filter.conversationId)
  equals('path_id', filter.pathId)
  equals('provider', filter.provider)
  equals('model', filter.model)
  equals('tier', filter.tier)
  equals('reservation_id', filter.reservationId)
  equals('late', filter.late)
  equals('overrun', filter.overrun)
  equals('estimated', filter.estimated)
  if (filter.labels !== undefined && Object.keys(filter.labels).length > 0) {
    conditions.push(sql`r.labels @> ${JSON.stringify(filter.labels)}::jsonb`)
  }
  if (filter.fromMicros !== undefined) conditions.push(sql`r.occurred_at >= ${instant(filter.fromMicros)}`)
  if (filter.toMicros !== undefined) conditions.push(sql`r.occurred_at < ${instant(filter.toMicros)}`)
  return sql<boolean>`${sql.join(conditions, sql` and `)}`
}

/** Converts microseconds to a timestamp. Text would not work: Postgres has no year 0 and rejects some offsets of RFC 3339. */
export function instant(micros: bigint): RawBuilder<Date> {
  return sql<Date>`(timestamptz 'epoch' + ${microseconds(micros)})`
}

export function microseconds(micros: bigint): RawBuilder<unknown> {
  return sql`${String(micros)}::bigint * interval '1 microsecond'`
}

/** A position in the list of records. Microseconds are text, because JSON has no bigint. */
export type RecordPosition = { recordedMicros: string; recordId: string }

/**
 * Lists at most `rowsMax` records after the position `after`, the last recorded first.
 *
 * Records never change, so reading all pages returns each record that existed at the start exactly once. Records booked
 * during that time come before the first page. `missing` names the archived months that have records of the time range.
 */
export function listRecords(
  db: Db,
  filter: RecordFilter,
  after: RecordPosition | null,
  rowsMax: number,
): Promise<{ rows: StoredRecord[]; missing: string[] }> {
  const behind =
    after === null
      ? sql`true`
      : sql`r.recorded_at <= ${instant(BigInt(after.recordedMicros))}
          and (r.recorded_at, r.cost_record_id) < (${instant(BigInt(after.recordedMicros))}, ${after.recordId}::uuid)`
  return readReport(db, filter.tenantId ?? null, async (transaction) => {
    // Limit the page in the subquery, so that JSON text is made only for its own records.
    const { rows } = await sql<StoredRecord>`
      select r.cost_record_id, r.reservation_id, r.resource_type, r.tenant_id, r.user_id, r.conversation_id, r.path_id, r.labels,
             r.provider, r.model, r.tier, r.usage::text as usage, r.total_cost_usd as cost_usd, r.price_id, r.occurred_at,
             r.recorded_at, (extract(epoch from r.recorded_at) * 1000000)::bigint as recorded_micros,
             r.late, r.overrun, r.estimated, r.corrects, r.estimate_reason, r.unreadable_usage::text as unreadable_usage
      from (
        select r.* from ${costLines} r
        where ${recordMatches(filter)} and ${behind}
        order by r.recorded_at desc, r.cost_record_id desc
        limit ${rowsMax}) r
      order by r.recorded_at desc, r.cost_record_id desc`.execute(transaction)
    return { rows, missing: await readMissing(transaction, filter) }
  })
}

/**
 * Lists the archived months that have records of a time range. Empty if the range has no start: such a query asks only for
 * records that are not archived.
 *
 * Call it after reading the rows, in the same transaction. A month that is archived in between is then reported as missing
 * instead of being skipped.
 */
export async function readMissing(
  transaction: Db,
  { fromMicros, toMicros }: Pick<RecordFilter, 'fromMicros' | 'toMicros'>,
): Promise<string[]> {
  if (fromMicros === undefined) return []
  const to = toMicros === undefined ? sql`'infinity'` : instant(toMicros)
  const { rows } = await sql<{ partition: string }>`
    select a.partition from copilot_internal.archived_between(${instant(fromMicros)}, ${to}) a(partition)`.execute(
    transaction,
  )
  return rows.map(({ partition }) => partition)
}

/** A record as cost_record_json() returns it: a StoredRecord, but with times in Postgres's text form. */
export type RecordJson = Omit<StoredRecord, 'occurred_at' | 'recorded_at' | 'recorded_micros'> & {
  occurred_at: string
  recorded_at: string
}

/** Reads a record by its id; null if there is none. Searches one index in each partition. */
export async function findRecord(db: Db, id: string): Promise<RecordJson | null> {
  const { rows } = await sql<{ record: RecordJson | null }>`
    select copilot_internal.cost_record_json(${id}) as record`.execute(db)
  return rows[0]!.record
}
