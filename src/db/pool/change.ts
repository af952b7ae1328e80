import { sql } from 'kysely'
import { Problem } from '../../errors.ts'
import { actorText, type Actor } from '../keys/audit.ts'
import { endsWhenIdle, type Db } from './connection.ts'
import { faultReason, isConnectionFault, maybeChanged, unchanged } from './faults.ts'

/**
 * An administrator's change in one transaction that knows who makes it: what calls write_audit() there, in SQL or here, names
 * the actor. It is rolled back where its caller has been answered meanwhile. Tried once: a second wait would outlast the
 * caller's.
 *
 * @throws unavailable, which says whether anything was changed; what `work` throws.
 */
export async function change<Answer>(
  db: Db,
  actor: Actor,
  work: (transaction: Db) => Promise<Answer>,
): Promise<Answer> {
  let sent = false
  try {
    return await db.transaction().execute(async (transaction) => {
      await sql`select set_config('purser.actor', ${actorText(actor)}, true), ${endsWhenIdle}`.execute(transaction)
      const answer = await work(transaction)
      actor.wait?.decide()
      sent = true
      return answer
    })
  } catch (error) {
    throw changeProblem(error, sent)
  }
}

/**
 * The same for one statement, which is told the actor itself. A quota's waits for the decisions in flight, and those that
 * come later wait for it.
 *
 * @param send calls what it is given, perhaps again: for a statement that can be repeated.
 */
export async function changeAtOnce<Answer>(
  db: Db,
  { wait }: Pick<Actor, 'wait'>,
  statement: (connection: Db) => Promise<Answer>,
  send: (attempt: () => Promise<Answer>) => Promise<Answer> = (attempt) => attempt(),
): Promise<Answer> {
  let sent = false
  try {
    return await send(() =>
      db.connection().execute((connection) => {
        wait?.decide()
        sent = true
        return statement(connection)
      }),
    )
  } catch (error) {
    throw changeProblem(error, sent)
  }
}

/** Only where the connection is lost once the change was sent to be committed is its outcome not known. */
function changeProblem(error: unknown, sent: boolean): unknown {
  if (error instanceof Problem) return error
  const reason = faultReason(error)
  if (reason === null) return error
  if (!sent || !isConnectionFault(error)) return unchanged(reason, error)
  return maybeChanged(reason, error)
}
