import { findReservation } from '../../db/reservations/reservations.ts'
import { decimal } from '../../domain/money.ts'
import { invalidRequest, Problem } from '../../errors.ts'
import type { ExtendBody } from '../../schemas/reservations.ts'
import { inSpan } from '../../telemetry/spans.ts'
import { decisionJson, quotaWarning } from '../answers.ts'
import { estimateTotal, givenTotal } from './extend-estimate.ts'
import type { PriceDeps } from '../prices/price-lookup.ts'
import type { Principal } from '../keys/principal.ts'
import type { Queues } from '../queues.ts'
import { noReservation } from './no-reservation.ts'
import { reservationAnswer } from './read-reservation.ts'
import { quotaExceeded } from './refusal.ts'
import type { Answered } from './reserve.ts'

export type ExtendDeps = PriceDeps & { queues: Pick<Queues, 'extend'> }

/**
 * Extends a reservation to a later expiry, a larger total, or both.
 *
 * Never lowers either, so a retry changes nothing. If one of the hold's periods has ended, the whole hold moves to the
 * current periods.
 * @throws quota_exceeded, which leaves the hold unchanged; reservation_not_open; not_found; invalidRequest; price_not_found.
 */
export async function extend(deps: ExtendDeps, principal: Principal, id: string, body: ExtendBody): Promise<Answered> {
  if (body.ttl_seconds === undefined && body.estimate === undefined) {
    throw invalidRequest([{ pointer: '/ttl_seconds', message: 'is required, or estimate, or both' }])
  }
  if (body.estimate !== undefined) givenTotal(body.estimate)
  const stored = await findReservation(deps.db, id, principal.tenantId)
  if (stored === null) throw noReservation(id)
  const total = body.estimate === undefined ? null : await estimateTotal(deps, stored, body.estimate)
  const { tenant_id: tenantId, provider, model: requestModel, tier, region } = stored
  const requestedUsd = total?.amount_usd ?? stored.reserved_usd
  const about = { tenantId, provider, requestModel, tier, region, requestedUsd, reservationId: stored.reservation_id }
  return inSpan(`${stored.resource_type}.quota.check`, about, async () => {
    const extension = await deps.queues.extend({
      reservation_id: stored.reservation_id,
      tenant_id: principal.tenantId,
      total,
      ttl_seconds: body.ttl_seconds ?? null,
    })
    if ('unknown' in extension) throw noReservation(id)
    if ('closed' in extension) {
      throw new Problem('reservation_not_open', `Reservation ${id} is settled, or past its expires_at: make a new one.`)
    }
    if ('refused' in extension) {
      // A total below the hold does not lower it, so explain the refusal for at least the held amount.
      const held = decimal(stored.reserved_usd)
      const asked = decimal(requestedUsd)
      const whole = asked.gt(held) ? asked : held
      throw quotaExceeded(principal, stored.resource_type, whole, extension.refused, extension, { whole: true })
    }
    const warnings = (extension.warned ?? []).map(([place]) => quotaWarning(principal, extension.all[place]!))
    return {
      body: decisionJson(
        principal,
        reservationAnswer({ ...extension.extended, cost_record_ids: [] }),
        extension.all,
        warnings,
      ),
      headers: warnings.length > 0 ? { 'x-purser-enforcement': 'warn' } : {},
    }
  })
}
