import { sql } from 'kysely'
import { compositeArrayText } from './composite.ts'
import type { Db } from './connection.ts'

/** One item for record_spend(), in the names of the SQL type record_item; amounts as decimal text. */
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
  /** Null: now. */
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

/** The order of the SQL type. */
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

/** All recorded, in the order of the items; or nothing, and why. */
export type Recording = { now: Date } & ({ faults: RecordFault[] } | { records: Recorded[] })

/**
 * Books 1 to 1,000 direct records in one round trip, all or none.
 *
 * @param options `imports`: may be older than the retention; then it is counted in no period. `silent`: no quota tells an event.
 * @throws errors of Postgres as they are; nothing is booked then.
 */
export async function recordSpend(
  db: Db,
  items: RecordItem[],
  { retentionDays, imports, silent = false }: { retentionDays: number; imports: boolean; silent?: boolean },
): Promise<Recording> {
  const { rows } = await sql<{ answer: { now: string; faults?: RecordFault[]; records: Recorded[] } }>`
    select copilot_internal.record_spend(${compositeArrayText(items, ITEM_COLUMNS)}::copilot_internal.record_item[], ${retentionDays}, ${imports}, ${silent}) as answer`.execute(
    db,
  )
  const { now, faults, records } = rows[0]!.answer
  return { now: new Date(now), ...(faults === undefined ? { records } : { faults }) }
}
