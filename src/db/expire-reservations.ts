import { sql } from 'kysely'
import type { Db } from './connection.ts'

/** Settles lapsed holds, at most `rowsMax`; answers how many. `silent`: no quota tells an event. */
export async function expireReservations(db: Db, rowsMax: number, silent = false): Promise<number> {
  const { rows } = await sql<{ settled: number }>`
    select copilot_internal.expire_reservations(${rowsMax}, ${silent}) as settled`.execute(db)
  return rows[0]!.settled
}
