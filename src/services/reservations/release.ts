import { Problem } from '../../errors.ts'
import type { ReleaseBody } from '../../schemas/reservations.ts'
import { usdJson } from '../answers.ts'
import type { Principal } from '../keys/principal.ts'
import type { Queues } from '../queues.ts'
import { noReservation } from './no-reservation.ts'

export type ReleaseDeps = { queues: Pick<Queues, 'release'> }

/** Releases an unused hold. Safe to retry; an expired hold stays expired. @throws not_found; reservation_committed. */
export async function release(deps: ReleaseDeps, principal: Principal, id: string, body: ReleaseBody): Promise<object> {
  const outcome = await deps.queues.release({
    reservation_id: id.toLowerCase(),
    tenant_id: principal.tenantId,
    reason: body.reason ?? null,
  })
  if ('unknown' in outcome) throw noReservation(id)
  if ('conflict' in outcome) {
    throw new Problem('reservation_committed', `Reservation ${id} has been committed; there is nothing to release.`)
  }
  const { settled } = outcome
  return {
    reservation_id: settled.reservation_id,
    status: settled.status,
    released_usd: usdJson(settled.released_usd ?? '0'),
    reason: settled.release_reason,
  }
}
