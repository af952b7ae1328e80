import { checkIntegrity, type BrokenInvariant } from '../db/costs/check-integrity.ts'
import type { Db } from '../db/pool/connection.ts'
import { emitBrokenIntegrity } from '../db/alerts/events.ts'
import { Problem } from '../errors.ts'
import type { Principal } from './keys/principal.ts'

/** What to do about each invariant, for people. docs/operations.md says more. */
const REMEDIES: Record<string, string> = {
  I1: 'A balance disagrees with the holds or records that it counts. Set spent or reserved of the named quota_period to the sum that the row tells, in one transaction under the advisory lock, and find out who wrote to the tables by hand.',
  I2: 'A balance is above its limit and no cause is noted. Nothing is lost: new reservations are refused there. Look at what was granted last in that period; raise the limit where the spending was meant.',
  I3: 'A hold was not settled in time. See that an instance of the service runs: it settles lapsed holds once a second, and its log tells where it cannot.',
  I4: 'A reservation and its lines of cost disagree. Compare GET /v1/reservations/{id} with GET /v1/cost-records?reservation_id=…: book what is missing, correct what is too much.',
  I7: 'A rollup is not the sum of its records. The records are right: GET /v1/costs grouped by user or path reads them. Somebody wrote to the tables by hand, or restored a part of them; select copilot_internal.rebuild_cost_rollups(month) makes the rollups of a month anew.',
  I10: 'A threshold that a balance has reached was not told of, an event was told twice, or its delivery was lost. No money is concerned. Tell who waits for that event yourself: the next cost of the period tells what is still due. A delivery that is missing, or was given up in silence, was changed by hand: POST /v1/deliveries/{id}/redeliver.',
  I11: 'An entry of the audit log was changed or removed. npm run audit -- verify names it; compare with the last export or backup, and find out who can write to that table.',
  keys: 'One idempotency key had two effects: its unique index is gone or damaged. Make the index anew (reindex), and release or correct the later one of the reservations.',
}
const OTHERWISE = 'See "Broken invariants" in docs/operations.md.'

/** What to do about a broken invariant, in words for who runs the service. */
export function remedyOf(invariant: string): string {
  return REMEDIES[invariant] ?? OTHERWISE
}

/** Checks the books, and tells of it where they are broken: integrity.broken, once a day. Answers how many rows break them. */
export async function watchIntegrity({ db }: { db: Db }): Promise<number> {
  const broken = await checkIntegrity(db)
  if (broken.length > 0) await emitBrokenIntegrity(db, broken)
  return broken.length
}

export type Integrity = { healthy: boolean; broken: BrokenInvariant[] }

/**
 * Reads every broken invariant of the money, over all tenants; who asks while a check runs gets what the next one finds,
 * together with all others who wait for it: the check reads every record, and never more than one runs for them.
 *
 * @param deps.db connections whose statements may take minutes. The reader throws forbidden for a principal that is bound
 * to a tenant.
 */
export function integrityReader({ db }: { db: Db }): (principal: Principal) => Promise<Integrity> {
  let running: Promise<unknown> = Promise.resolve()
  let next: Promise<Integrity> | undefined
  const check = async (): Promise<Integrity> => {
    next = undefined
    const broken = await checkIntegrity(db)
    return { healthy: broken.length === 0, broken }
  }
  return async (principal) => {
    if (principal.tenantId !== null) {
      throw new Problem('forbidden', `This key is bound to tenant ${principal.tenantId}; the check is over all tenants`)
    }
    next ??= running.then(check, check)
    running = next
    return next
  }
}
