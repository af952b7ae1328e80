import { checkIntegrity, type BrokenInvariant } from '../db/costs/check-integrity.ts'
import type { Db } from '../db/pool/connection.ts'
import { emitBrokenIntegrity } from '../db/alerts/events.ts'
import { Problem } from '../errors.ts'
import type { Principal } from './keys/principal.ts'

/** What an operator should do if an invariant is broken. docs/operations.md has the details. */
const REMEDIES: Record<string, string> = {
  I1: 'A balance disagrees with the holds or records that it counts. Set spent or reserved of the named quota_period to the sum that the row shows, in one transaction under the advisory lock, and find out who wrote to the tables by hand.',
  I2: 'A balance is above its limit and no cause is noted. Nothing is lost: new reservations are refused there. Look at what was granted last in that period. Raise the limit if the spending was intended.',
  I3: 'A hold was not settled in time. Check that an instance of the service is running: it settles lapsed holds once a second, and logs why if it cannot.',
  I4: 'A reservation and its cost records disagree. Compare GET /v1/reservations/{id} with GET /v1/cost-records?reservation_id=…: record the missing cost, or correct the record that is too high.',
  I7: 'A rollup is not the sum of its records. The records are right: GET /v1/costs grouped by user or path reads them. Somebody wrote to the tables by hand, or restored a part of them. Rebuild the rollups of a month with select copilot_internal.rebuild_cost_rollups(month).',
  I10: 'A balance reached a threshold and no event was emitted, an event was emitted twice, or its delivery was lost. No money is affected. Inform the people who wait for that event yourself; the next cost of the period emits what is still due. If a delivery is missing, or has failed without an event, its row was changed by hand: POST /v1/deliveries/{id}/redeliver.',
  I11: 'An entry of the audit log was changed or removed. npm run audit -- verify names it; compare with the last export or backup, and find out who can write to that table.',
  keys: 'One idempotency key had two effects: its unique index is gone or damaged. Rebuild the index (reindex), then release or correct the later one of the reservations.',
}
const OTHERWISE = 'See "Broken invariants" in docs/operations.md.'

/** Says what the operator should do about a broken invariant. */
export function remedyOf(invariant: string): string {
  return REMEDIES[invariant] ?? OTHERWISE
}

/** Checks all invariants and emits integrity.broken, at most once a day, if any is broken. Returns the number of broken rows. */
export async function watchIntegrity({ db }: { db: Db }): Promise<number> {
  const broken = await checkIntegrity(db)
  if (broken.length > 0) await emitBrokenIntegrity(db, broken)
  return broken.length
}

export type Integrity = { healthy: boolean; broken: BrokenInvariant[] }

/**
 * Makes a function that checks the invariants of the money over all tenants and returns every broken row.
 *
 * A check reads every record, so at most one runs at a time in this process. Callers that arrive during a check share the
 * result of the next one. The function throws forbidden for a principal bound to a tenant.
 *
 * @param deps.db connections whose statements may take minutes.
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
