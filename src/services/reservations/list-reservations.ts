import type { Db } from '../../db/pool/connection.ts'
import { listReservations as list } from '../../db/reservations/reservations.ts'
import type { ReservationQuery } from '../../schemas/reservations.ts'
import { pageOf, type PageOf } from '../page.ts'
import { tenantFilter, type Principal } from '../keys/principal.ts'
import { reservationAnswer } from './read-reservation.ts'
import { labelsOf, spanOf } from '../costs/record-filter.ts'

/**
 * Reservations, the newest first; a page begins after an id, and may be short of the limit before the end: what it looks through is
 * bounded. A principal that is bound to a tenant sees that tenant's.
 *
 * @throws forbidden for another tenant; invalidRequest where `from` is after `to`.
 */
export async function listReservations(
  { db }: { db: Db },
  principal: Principal,
  query: ReservationQuery,
  afterId: string | null,
  limit: number,
): Promise<PageOf<string>> {
  const { status, resource_type, user_id, conversation_id, path_id, provider, model, tier } = query
  const tenant_id = tenantFilter(principal, query.tenant_id)
  const equal = { status, resource_type, tenant_id, user_id, conversation_id, path_id, provider, model, tier }
  const filter = { equal, labels: labelsOf(query), ...spanOf(query) }
  const { reservations, lookedUntil } = await list(db, filter, afterId, limit + 1)
  const page = pageOf(reservations, limit, reservationAnswer, (last) => last.reservation_id)
  return { ...page, next: page.next ?? lookedUntil }
}
