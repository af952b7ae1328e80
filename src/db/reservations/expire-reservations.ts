import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'

/**
 * Settles lapsed holds, at most `rowsMax`; answers how many. `silent`: no quota tells an event.
 *
 * @param observe gets the time of Postgres, which comes with the answer.
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
