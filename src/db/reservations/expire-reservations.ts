import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'

/**
 * Settles at most `rowsMax` expired holds. Returns how many it settled.
 *
 * @param silent emit no quota events, because enforcement is off.
 * @param observe receives the time of Postgres from the same answer.
 */
export async function expireReservations(
  db: Db,
  rowsMax: number,
  silent = false,
  observe: (now: Date) => void = () => {},
): Promise<number> {
  const { rows } = await sql<{ settled: number; now: Date }>`
    select copilot_internal.expire_reservations(${rowsMax}, ${silent}) as settled, copilot_internal.clock_now() as now`.execute(
    db,
  )
  observe(rows[0]!.now)
  return rows[0]!.settled
}
