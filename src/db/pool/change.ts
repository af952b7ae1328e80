import { sql } from 'kysely'
import { Problem } from '../../errors.ts'
import { actorText, type Actor } from '../keys/audit.ts'
import { endsWhenIdle, type Db } from './connection.ts'
import { faultReason, isConnectionFault, maybeChanged, unchanged } from './faults.ts'

/**
 * Makes an administrator's change in one transaction. The transaction knows the actor, so write_audit() names the actor, whether
 * SQL or TypeScript calls it. If the caller has been answered meanwhile, the change is rolled back. It is tried once: a second
 * try would take longer than the caller waits.
 *
 * @throws unavailable, which says whether anything was changed; and whatever `work` throws.
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
 * Makes an administrator's change by one statement, which gets the actor as an argument. A change of a quota waits for the
 * decisions in flight, and later decisions wait for the change.
 *
 * @param send calls the attempt it is given, and may call it again where the statement can be repeated.
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

/** The outcome is unknown only if the connection broke after the change had been sent to be committed. */
function changeProblem(error: unknown, sent: boolean): unknown {
  if (error instanceof Problem) return error
  const reason = faultReason(error)
  if (reason === null) return error
  if (!sent || !isConnectionFault(error)) return unchanged(reason, error)
  return maybeChanged(reason, error)
}
