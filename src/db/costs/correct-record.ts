import { sql } from 'kysely'
import { actorCte, type Actor } from '../keys/audit.ts'
import type { Db } from '../pool/connection.ts'
import type { RecordJson } from './cost-records.ts'

/** The arguments of correct_record(); amounts and seconds as decimal text; null means not given. */
export type Correction = {
  costRecordId: string
  /** The tenant that the principal is bound to; null if it is bound to none. */
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
 * The reversal and the successor, or why there are none. `successor` is the record that already replaces this one, or null
 * if this one is a reversal. `undated`: the record does not say when it was priced.
 */
export type Corrected =
  | { lines: RecordJson[] }
  | { unknown: true }
  | { unpriced: true }
  | { undated: true }
  | { successor: string | null }

/**
 * Books the reversal and the successor of a cost record, once. Safe to retry with the same ids.
 *
 * @param silent emit no quota events, because enforcement is off.
 * @throws Postgres errors unchanged; nothing is booked then.
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
