import { changeAs, type Actor } from '../db/audit.ts'
import type { Db } from '../db/connection.ts'
import { faultCode, toProblem } from '../db/faults.ts'

export type { Actor }

const LOCK_TIMEOUT = '55P03'
const LOCK_TRIES = 3

/**
 * An administrator's change in one transaction, its entry in the audit log included. It waits for the decisions in flight:
 * on a busy service the first try may not get the lock in time.
 *
 * @throws unavailable; what `work` throws.
 */
export async function change<Answer>(
  db: Db,
  actor: Actor,
  work: (transaction: Db) => Promise<Answer>,
): Promise<Answer> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await changeAs(db, actor, work)
    } catch (error) {
      if (faultCode(error) !== LOCK_TIMEOUT || tries === LOCK_TRIES) throw toProblem(error)
    }
  }
}
