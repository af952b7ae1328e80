import type { Principal } from './principal.ts'
import { release, type ReleaseDeps } from './release.ts'
import type { Reserved } from './reserve.ts'

/** Gives back a hold whose caller has gone before it was told of it. Nothing where none came of the request. */
export async function giveUp(deps: ReleaseDeps, principal: Principal, held: Promise<Reserved>): Promise<void> {
  // Why nothing was held is the answer's matter.
  const reserved = await held.catch(() => null)
  if (reserved !== null) await release(deps, principal, reserved.reservationId, { reason: 'the caller has gone' })
}
