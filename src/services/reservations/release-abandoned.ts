import { setTimeout as sleep } from 'node:timers/promises'
import type { Principal } from '../keys/principal.ts'
import { release, type ReleaseDeps } from './release.ts'
import type { Reserved } from './reserve.ts'

/** Gives back a hold whose caller has gone before it was told of it. Nothing where none came of the request. */
export async function giveUp(deps: ReleaseDeps, principal: Principal, held: Promise<Reserved>): Promise<void> {
  // Why nothing was held is the answer's matter.
  const reserved = await held.catch(() => null)
  if (reserved !== null) await release(deps, principal, reserved.reservationId, { reason: 'the caller has gone' })
}

/** By then Postgres has ended a statement that was given up, whichever way. */
export const ENDED_MS = 2_500
/** Where Postgres is away then, again after so long each. */
const AGAIN_MS = [5_000, 15_000, 60_000]

/**
 * Gives back a hold of which its caller has been told that it came too late, or that it is not known whether it was made.
 * Nothing where it was not made; never fails: what cannot be given back lapses by itself.
 */
export async function giveBackLost(
  giveBack: ReleaseDeps['giveBack'],
  reservationId: string,
  afterMs: number,
): Promise<void> {
  for (const ms of [afterMs, ...AGAIN_MS]) {
    await sleep(ms, undefined, { ref: false })
    try {
      await giveBack({ reservation_id: reservationId, tenant_id: null, reason: 'its answer was lost' })
      return
    } catch {
      // Postgres is away, or overloaded.
    }
  }
}
