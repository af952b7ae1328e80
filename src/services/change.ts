import { changeAs, type Actor } from '../db/audit.ts'
import type { Db } from '../db/connection.ts'
import { toProblem } from '../db/faults.ts'

export type { Actor }

/**
 * An administrator's change in one transaction, its entry in the audit log included. Tried once: a second wait would outlast
 * the caller's.
 *
 * @throws unavailable; what `work` throws.
 */
export async function change<Answer>(
  db: Db,
  actor: Actor,
  work: (transaction: Db) => Promise<Answer>,
): Promise<Answer> {
  try {
    return await changeAs(db, actor, work)
  } catch (error) {
    throw toProblem(error)
  }
}

/**
 * The same for one statement, which is told the actor itself. A quota's waits for the decisions in flight, and those that
 * come later wait for it.
 */
export async function changeAtOnce<Answer>(statement: Promise<Answer>): Promise<Answer> {
  try {
    return await statement
  } catch (error) {
    throw toProblem(error)
  }
}
