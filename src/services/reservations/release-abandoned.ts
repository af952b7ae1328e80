import { setTimeout as sleep } from 'node:timers/promises'
import type { Principal } from '../keys/principal.ts'
import type { Queues } from '../queues.ts'
import { release, type ReleaseDeps } from './release.ts'
import type { Reserved } from './reserve.ts'

/** Releases a hold whose caller has gone before the answer was sent. Does nothing if no hold was made. */
export async function releaseAbandoned(
  deps: ReleaseDeps,
  principal: Principal,
  reserving: Promise<Reserved>,
): Promise<void> {
  // If reserving failed, the answer says why.
  const reserved = await reserving.catch(() => null)
  if (reserved !== null) await release(deps, principal, reserved.reservationId, { reason: 'the caller has gone' })
}

/** After this long Postgres has ended a statement whose connection was given up. */
export const STATEMENT_ENDED_MS = 2_500
/** Waits between the tries while Postgres is away. */
const RETRY_MS = [5_000, 15_000, 60_000]

/**
 * Releases a hold whose caller was told that the decision came too late, or that nobody knows whether it was made. Does
 * nothing if no hold was made. Never fails: a hold that cannot be released lapses by itself.
 */
export async function releaseLost(
  releaseQueue: Queues['release'],
  reservationId: string,
  afterMs: number,
): Promise<void> {
  for (const ms of [afterMs, ...RETRY_MS]) {
    await sleep(ms, undefined, { ref: false })
    try {
      await releaseQueue({ reservation_id: reservationId, tenant_id: null, reason: 'its answer was lost' })
      return
    } catch {
      // Postgres is away, or overloaded.
    }
  }
}
