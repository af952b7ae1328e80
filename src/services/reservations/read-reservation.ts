import type { Db } from '../../db/pool/connection.ts'
import type { StoredReservation } from '../../db/reservations/reservation.ts'
import { findReservation } from '../../db/reservations/reservations.ts'
import { timeText, usdJson } from '../answers.ts'
import type { Principal } from '../keys/principal.ts'
import { noReservation } from './no-reservation.ts'

/** Reads a reservation with its attribution and the ids of its cost records. @throws not_found, also for another tenant's. */
export async function readReservation({ db }: { db: Db }, principal: Principal, id: string): Promise<object> {
  const stored = await findReservation(db, id, principal.tenantId)
  if (stored === null) throw noReservation(id)
  return reservationAnswer(stored)
}

export function reservationAnswer(stored: StoredReservation & { cost_record_ids: string[] }): object {
  return {
    reservation_id: stored.reservation_id,
    status: stored.status,
    resource_type: stored.resource_type,
    tenant_id: stored.tenant_id,
    user_id: stored.user_id,
    conversation_id: stored.conversation_id,
    path_id: stored.path_id,
    labels: stored.labels,
    provider: stored.provider,
    model: stored.model,
    tier: stored.tier,
    reserved_usd: usdJson(stored.reserved_usd),
    price_id: stored.price_id,
    caps: stored.caps,
    on_expiry: stored.on_expiry,
    created_at: timeText(stored.created_at),
    expires_at: timeText(stored.expires_at),
    settled_at: stored.settled_at === null ? null : timeText(stored.settled_at),
    cost_usd: stored.cost_usd === null ? null : usdJson(stored.cost_usd),
    cost_record_ids: stored.cost_record_ids,
  }
}
