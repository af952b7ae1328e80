import { setTimeout as sleep } from 'node:timers/promises'
import type { Principal } from '../keys/principal.ts'
import type { Queues } from '../queues.ts'
import { release, type ReleaseDeps } from './release.ts'
import type { Reserved } from './reserve.ts'

/** Releases a hold whose caller disconnected before the answer was sent. Does nothing if no hold was made. */
export async function releaseAbandoned(
  deps: ReleaseDeps,
  principal: Principal,
  reserving: Promise<Reserved>,
): Promise<void> {
  // If the reservation failed, there is nothing to release. The request reports the error.
  const reserved = await reserving.catch(() => null)
  if (reserved !== null) await release(deps, principal, reserved.reservationId, { reason: 'the caller has gone' })
}

/** After this time Postgres has ended a statement whose connection was abandoned. */
export const STATEMENT_ENDED_MS = 2_500
/** Waits between attempts while Postgres is unavailable. */
const RETRY_MS = [5_000, 15_000, 60_000]

/**
 * Releases a hold whose caller was answered that the decision came too late or that its outcome is unknown.
 *
 * Does nothing if no hold was made. Never throws: a hold that cannot be released expires on its own.
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
      // Postgres is unavailable or overloaded: try again after the next wait.
    }
  }
}
