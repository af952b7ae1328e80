import { sql } from 'kysely'
import { readBalances, type Balance, type BalanceColumns } from '../quotas/balances.ts'
import type { Db } from '../pool/connection.ts'
import type { StoredReservation } from './reservation.ts'
import type { BalanceThen, Refusal } from './reserve-spend.ts'

/** One item for extend_reservation(); amounts as decimal text. */
export type ExtendItem = {
  reservation_id: string
  /** The tenant that the principal is bound to; null if it is bound to none. */
  tenant_id: string | null
  /** The new total under its name in the reservation's estimate, and its cost; null if the amount does not change. */
  total: { estimate: Record<string, number | string>; amount_usd: string } | null
  ttl_seconds: number | null
}

/** The result of one item, and the current balances that hold the reservation or would hold it. */
export type Extension =
  | { unknown: true }
  | { closed: true }
  | { now: Date; all: Balance[]; extended: StoredReservation; warned: BalanceThen[] | null }
  | { now: Date; all: Balance[]; refused: Refusal }

type Answer =
  | { unknown: true }
  | { closed: true }
  | ({ now: string; ids: number[]; balances: BalanceColumns } & (
      | { extended: StoredReservation; warned: BalanceThen[] | null }
      | { refused: Refusal }
    ))

/**
 * Extends a batch of 1 to 500 distinct reservations in one round trip. extensions[i] is for items[i].
 *
 * Safe to retry: a total that is already held changes nothing.
 */
export async function extendReservations(db: Db, items: ExtendItem[], enforcement: string): Promise<Extension[]> {
  const sent = items.map(({ reservation_id, tenant_id, total, ttl_seconds }) => ({
    ...{ reservation_id, tenant_id, ttl_seconds },
    ...{ estimate: total && total.estimate, amount_usd: total && total.amount_usd },
  }))
  const { rows } = await sql<{ answers: Answer[] }>`
    select copilot_internal.extend_reservation(${JSON.stringify(sent)}::json, ${enforcement}) as answers`.execute(db)
  return rows[0]!.answers.map((answer) => {
    if (!('now' in answer)) return answer
    const { now, ids, balances, ...outcome } = answer
    const byId = readBalances(balances)
    return { ...outcome, now: new Date(now), all: ids.map((id) => byId.get(id)!) }
  })
}
