import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'
import type { StoredReservation } from './reservation.ts'

export type ReleaseItem = { reservation_id: string; tenant_id: string | null; reason: string | null }

export type Release = { settled: StoredReservation } | { conflict: 'committed' } | { unknown: true }

/**
 * Releases a batch of 1 to 500 holds in one round trip. releases[i] is for items[i].
 *
 * @param silent emit no quota events, because enforcement is off.
 */
export async function releaseSpend(db: Db, items: ReleaseItem[], silent = false): Promise<Release[]> {
  const { rows } = await sql<{ answer: { outcomes: Release[] } }>`
    select copilot_internal.release_spend(${JSON.stringify(items)}::json, ${silent}) as answer`.execute(db)
  return rows[0]!.answer.outcomes
}
