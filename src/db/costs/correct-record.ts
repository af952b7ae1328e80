import { sql } from 'kysely'
import { actorCte, type Actor } from '../keys/audit.ts'
import type { Db } from '../pool/connection.ts'
import type { RecordJson } from './cost-records.ts'

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

/**
 * The reversal and the successor; or why there are none. `successor` is what stands instead of the line already; `undated`
 * lines no longer say when they were priced.
 */
export type Corrected =
  | { lines: RecordJson[] }
  | { unknown: true }
  | { unpriced: true }
  | { undated: true }
  | { successor: string | null }

/**
 * Replaces a line of cost by its reversal and the real cost, once; safe to send again with the same ids.
 *
 * @param silent the service counts only: no quota tells an event.
 * @throws errors of Postgres as they are; nothing is booked then.
 */
export async function correctRecord(
  db: Db,
  actor: Omit<Actor, 'reason'>,
  correction: Correction,
  silent = false,
): Promise<Corrected> {
  const { costRecordId, tenantId, reversalId, successorId, measure, seconds, provider, model, reason } = correction
  const usage = correction.usage === undefined ? null : JSON.stringify(correction.usage)
  const { rows } = await sql<{ outcome: Corrected }>`
    with ${actorCte({ ...actor, reason })}
    select copilot_internal.correct_record(
    ${costRecordId}, ${tenantId}, ${reversalId}, ${successorId}, ${measure}, ${usage}::jsonb, ${seconds ?? null}::numeric,
    ${correction.cost_usd ?? null}::numeric, ${provider}, ${model}, ${reason}, ${silent}) as outcome
    from actor where actor.is_known is not null`.execute(db)
  return rows[0]!.outcome
}
