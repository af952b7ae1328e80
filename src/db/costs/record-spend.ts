import { sql } from 'kysely'
import { compositeArrayText } from '../pool/composite.ts'
import type { Db } from '../pool/connection.ts'

/** One item for record_spend(), with the field names of the SQL type record_item; amounts as decimal text. */
export type RecordItem = {
  cost_record_id: string
  resource_type: 'llm' | 'e2b'
  tenant_id: string
  user_id: string | null
  conversation_id: string | null
  path_id: string | null
  labels: Record<string, string>
  principal: string
  idempotency_key: string
  /** bytea in Postgres's hexadecimal form. */
  request_hash: string
  /** RFC 3339; null means now. */
  occurred_at: string | null
  measure: 'tokens' | 'seconds' | 'cost'
  usage?: Record<string, unknown>
  seconds?: string
  cost_usd?: string
  provider?: string | null
  model?: string | null
  service_tier?: string | null
  region?: string | null
  tier?: string | null
  vcpu?: string | null
  memory_mib?: number | null
}

/** The columns in the order of the SQL type record_item. */
const ITEM_COLUMNS = [
  'cost_record_id',
  'resource_type',
  'tenant_id',
  'user_id',
  'conversation_id',
  'path_id',
  'labels',
  'principal',
  'idempotency_key',
  'request_hash',
  'occurred_at',
  'measure',
  'usage',
  'seconds',
  'cost_usd',
  'provider',
  'model',
  'service_tier',
  'region',
  'tier',
  'vcpu',
  'memory_mib',
] as const satisfies (keyof RecordItem)[]

export type RecordFault = { index: number; fault: 'mismatch' | 'ahead' | 'old' | 'unpriced' }
export type Recorded = { cost_record_id: string; cost_usd: string; replayed: boolean }

/** Refused, because the day's total and the requested amount exceed the principal's daily maximum. USD as decimal text. */
export type AboveCeiling = { day_usd: string; asked_usd: string }

/** All records, in the order of the items; or nothing was recorded, and why. */
type Outcome = { faults: RecordFault[] } | AboveCeiling | { records: Recorded[] }
export type Recording = { now: Date } & Outcome

/**
 * Books 1 to 1,000 direct records in one round trip, all or none.
 *
 * @param options `imports`: records may be older than the retention, and then count in no period. `silent`: emit no quota
 * events, because enforcement is off. `dayMaxUsd`: the most that the principal may record in a UTC day; null: no maximum.
 * @throws Postgres errors unchanged; nothing is booked then.
 */
export async function recordSpend(
  db: Db,
  items: RecordItem[],
  {
    retentionDays,
    imports,
    silent = false,
    dayMaxUsd = null,
  }: { retentionDays: number; imports: boolean; silent?: boolean; dayMaxUsd?: string | null },
): Promise<Recording> {
  const { rows } = await sql<{ answer: { now: string } & Outcome }>`
    select copilot_internal.record_spend(${compositeArrayText(items, ITEM_COLUMNS)}::copilot_internal.record_item[], ${retentionDays}, ${imports}, ${silent}, ${dayMaxUsd}::numeric) as answer`.execute(
    db,
  )
  const { now, ...outcome } = rows[0]!.answer
  return { now: new Date(now), ...outcome }
}
