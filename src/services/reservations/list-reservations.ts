import type { Db } from '../../db/pool/connection.ts'
import { listReservations as list } from '../../db/reservations/reservations.ts'
import type { ReservationQuery } from '../../schemas/reservations.ts'
import { pageOf, type PageOf } from '../page.ts'
import { tenantFilter, type Principal } from '../keys/principal.ts'
import { reservationAnswer } from './read-reservation.ts'
import { labelsOf, spanOf } from '../costs/record-filter.ts'

/**
 * Lists reservations, newest first, after the id of the cursor.
 *
 * A page reads a bounded number of rows, so it may be shorter than the limit although more follow: rely on `next`. A
 * principal bound to a tenant sees only that tenant's reservations.
 *
 * @throws forbidden for another tenant; invalidRequest if `from` is after `to`.
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
  const { reservations, readUntil } = await list(db, filter, afterId, limit + 1)
  const page = pageOf(reservations, limit, reservationAnswer, (last) => last.reservation_id)
  return { ...page, next: page.next ?? readUntil }
}
