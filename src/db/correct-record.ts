import { sql } from 'kysely'
import type { Db } from './connection.ts'
import { findRecords, type StoredRecord } from './cost-records.ts'

/** What correct_record() takes; amounts and seconds as decimal text, null for what is not said. */
export type Correction = {
  costRecordId: string
  /** Set where the principal is bound to a tenant. */
  tenantId: string | null
  reversalId: string
  successorId: string
  measure: 'tokens' | 'seconds' | 'cost'
  usage?: Record<string, unknown>
  seconds?: string
  cost_usd?: string
  provider: string | null
  model: string | null
  reason: string
}

type Outcome = { corrected: true } | { unknown: true } | { unpriced: true } | { successor: string | null }

/** The reversal and the successor; or why there are none: `successor` is what stands instead of the line already. */
export type Corrected = { lines: StoredRecord[] } | Exclude<Outcome, { corrected: true }>

/**
 * Replaces a line of cost by its reversal and the real cost, once; safe to send again with the same ids.
 *
 * @throws errors of Postgres as they are; nothing is booked then.
 */
export async function correctRecord(db: Db, correction: Correction): Promise<Corrected> {
  const { costRecordId, tenantId, reversalId, successorId, measure, seconds, provider, model, reason } = correction
  const usage = correction.usage === undefined ? null : JSON.stringify(correction.usage)
  return db.transaction().execute(async (transaction) => {
    const { rows } = await sql<{ outcome: Outcome }>`select copilot_internal.correct_record(
      ${costRecordId}, ${tenantId}, ${reversalId}, ${successorId}, ${measure}, ${usage}::jsonb, ${seconds ?? null}::numeric,
      ${correction.cost_usd ?? null}::numeric, ${provider}, ${model}, ${reason}) as outcome`.execute(transaction)
    const { outcome } = rows[0]!
    if (!('corrected' in outcome)) return outcome
    return { lines: await findRecords(transaction, [reversalId, successorId]) }
  })
}
