import { sql, type RawBuilder } from 'kysely'
import { readReport, type Db } from '../pool/connection.ts'

/** Which lines of cost; what is undefined is not asked for. Times are microseconds since 1970-01-01T00:00:00Z. */
export type RecordFilter = {
  resourceType?: string | undefined
  tenantId?: string | undefined
  userId?: string | undefined
  conversationId?: string | undefined
  pathId?: string | undefined
  /** Each of these labels with this value. */
  labels?: Record<string, string> | undefined
  provider?: string | undefined
  model?: string | undefined
  tier?: string | undefined
  reservationId?: string | undefined
  /** When it occurred: inclusive. */
  fromMicros?: bigint | undefined
  /** When it occurred: exclusive. */
  toMicros?: bigint | undefined
  late?: boolean | undefined
  overrun?: boolean | undefined
  estimated?: boolean | undefined
}

/** A line of cost, whichever it is of. Numerics are decimal text, `usage` and `unreadable_usage` JSON text. */
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
  /** Why it is an estimate; null where it is none, or where a line of before migration 0020 does not say. */
  estimate_reason: string | null
  /** What could not be read, and why; null where the usage was read. */
  unreadable_usage: string | null
}

/** The lines of both tables as one relation. Conditions on it reach the tables and their indexes. */
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

/** What a filter says of the lines `r`, as one condition. */
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

/** A time that is given in microseconds. Not as text: Postgres knows no year 0 and not every offset that RFC 3339 allows. */
export function instant(micros: bigint): RawBuilder<Date> {
  return sql<Date>`(timestamptz 'epoch' + ${microseconds(micros)})`
}

export function microseconds(micros: bigint): RawBuilder<unknown> {
  return sql`${String(micros)}::bigint * interval '1 microsecond'`
}

/** A place in the list of records. Microseconds as text: JSON has no bigint. */
export type RecordPosition = { recordedMicros: string; recordId: string }

/**
 * Records behind `after`, at most `rowsMax`, the last recorded first. Records never change, so that a walk over the pages
 * sees each that was there at its begin once; what is recorded meanwhile stands before the first page. `missing`: the archived
 * months of which the span has records that are not here.
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
    // The page is cut first, so that texts are made of its records only.
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
 * The archived months that have records of a span, in the transaction that has read it: ask after the rows, so that a month that
 * leaves in between is told as missing, never passed over. None where the span has no begin: then what is here is asked for.
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

/** A record as cost_record_json() answers it: as a StoredRecord, but times as Postgres writes them. */
export type RecordJson = Omit<StoredRecord, 'occurred_at' | 'recorded_at' | 'recorded_micros'> & {
  occurred_at: string
  recorded_at: string
}

/** A record by its id; null where there is none. Cost: one look-up in each partition. */
export async function findRecord(db: Db, id: string): Promise<RecordJson | null> {
  const { rows } = await sql<{ record: RecordJson | null }>`
    select copilot_internal.cost_record_json(${id}) as record`.execute(db)
  return rows[0]!.record
}
