import { sql } from 'kysely'
import { readBalances, type Balance, type BalanceColumns } from './balances.ts'
import type { Db } from './connection.ts'
import type { StoredReservation } from './reservation.ts'
import type { BalanceThen, Refusal } from './reserve-spend.ts'

/** One call of extend_reservation(); amounts as decimal text. */
export type ExtendItem = {
  reservation_id: string
  /** Set where the principal is bound to a tenant. */
  tenant_id: string | null
  /** The new total by its name in the reservation's estimate, and what it costs; null where the amount stays. */
  total: { estimate: Record<string, number | string>; amount_usd: string } | null
  ttl_seconds: number | null
}

/** What came of it, with the balances that hold the reservation, or would: as they stand now. */
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

/** Extends a reservation, in one round trip. Safe to send again: totals that are held already change nothing. */
export async function extendReservation(db: Db, item: ExtendItem, enforcement: string): Promise<Extension> {
  const { rows } = await sql<{ answer: Answer }>`select copilot_internal.extend_reservation(
    ${item.reservation_id}, ${item.tenant_id}, ${item.total && JSON.stringify(item.total.estimate)}::jsonb,
    ${item.total && item.total.amount_usd}::numeric, ${item.ttl_seconds}::integer, ${enforcement}) as answer`.execute(
    db,
  )
  const { answer } = rows[0]!
  if (!('now' in answer)) return answer
  const { now, ids, balances, ...outcome } = answer
  const byId = readBalances(balances)
  return { ...outcome, now: new Date(now), all: ids.map((id) => byId.get(id)!) }
}
