import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'
import type { StoredReservation } from './reservation.ts'

export type ReleaseItem = { reservation_id: string; tenant_id: string | null; reason: string | null }

export type Release = { settled: StoredReservation } | { conflict: 'committed' } | { unknown: true }

/** Gives a batch of 1 to 500 holds back, in one round trip; the answers are in the order of the items. `silent`: no quota tells an event. */
export async function releaseSpend(db: Db, items: ReleaseItem[], silent = false): Promise<Release[]> {
  const { rows } = await sql<{ answer: { outcomes: Release[] } }>`
    select copilot_internal.release_spend(${JSON.stringify(items)}::json, ${silent}) as answer`.execute(db)
  return rows[0]!.answer.outcomes
}
