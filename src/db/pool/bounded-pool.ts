import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from 'kysely'
import pg from 'pg'
import { Problem } from '../../errors.ts'
import { faultCode, isConnectionFault } from './faults.ts'
import { SERVICE_ROLE, startAs } from './roles.ts'

/** How long a caller waits for a connection before the service says that it is unavailable. */
const CONNECT_MS = 1_500
/** How long after Postgres should have ended a statement the client gives it up, and the connection with it. */
const GRACE_MS = 100
/** A statement that may take longer than this is asked after: is Postgres still there? */
const ASK_MS = 1_000
const ASK_ANSWER_MS = 700
/** So many callers wait for a connection at most. */
const WAITING_MAX = 10_000

/**
 * A pool in which every wait has a bound. Postgres itself ends a statement after `statementMs` (SQLSTATE 57014), so that
 * none goes on behind the back of a caller who has been told that it failed; where Postgres does not answer, because it
 * is stopped or the way to it is cut, the client gives the connection up.
 *
 * A connection that broke is never lent again, and neither is one that was made before it broke: after a restart of
 * Postgres the first fault is the only one.
 */
export function openPool(
  databaseUrl: string,
  options: { connectionsMax: number; statementMs: number; asService: boolean },
): Pick<PostgresPool, 'connect' | 'end' | 'options'> {
  const { connectionsMax, statementMs, asService } = options
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: connectionsMax,
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: statementMs,
    keepAlive: true,
    application_name: 'purser',
    ...(asService ? { options: startAs(SERVICE_ROLE) } : {}),
  })
  /** Goes up with every connection that breaks. */
  let era = 0
  const madeIn = new WeakMap<pg.PoolClient, number>()
  // A connection that breaks while idle is replaced at the next use; the next statement tells if Postgres is away.
  pool.on('error', () => {})
  pool.on('connect', (client) => {
    madeIn.set(client, era)
    // One that breaks while it is lent tells its statement; without a listener of its own it would end the process.
    client.on('error', () => {})
  })
  const isThere = shareAsking(databaseUrl)

  async function connect(): Promise<PostgresPoolClient> {
    if (pool.waitingCount >= WAITING_MAX) {
      throw new Problem(
        'overloaded',
        'More requests wait for the database than it can serve in time. Try again later.',
        {
          headers: { 'retry-after': '1' },
        },
      )
    }
    for (let stale = 0; ; stale += 1) {
      const client = await pool.connect()
      if (madeIn.get(client) === era || stale > connectionsMax) return bounded(client)
      client.release(true)
    }
  }

  function bounded(client: pg.PoolClient): PostgresPoolClient {
    let broken = false
    async function query<Row>(text: string, values: readonly unknown[]): Promise<PostgresQueryResult<Row>> {
      // With a statement out, end() does not wait for Postgres: it destroys the socket, and the statement fails.
      const answered = bound(statementMs, isThere, () => void client.end())
      try {
        return (await client.query(text, values as unknown[])) as unknown as PostgresQueryResult<Row>
      } catch (error) {
        if (!broken && isConnectionFault(error)) {
          broken = true
          era += 1
        }
        throw error
      } finally {
        answered()
      }
    }
    return { query: query as PostgresPoolClient['query'], release: () => client.release(broken) }
  }

  return { connect, end: () => pool.end(), options: pool.options }
}

/** Calls `giveUp` once Postgres should have answered long ago, or is not there; never after the function it returns. */
function bound(statementMs: number, isThere: () => Promise<boolean>, giveUp: () => void): () => void {
  let done = false
  const giveUpNow = () => {
    if (!done) giveUp()
  }
  // A busy process may have an answer in its socket that it has not read yet. setImmediate() lets it read that first.
  const last = setTimeout(() => setImmediate(giveUpNow), statementMs + GRACE_MS)
  // One that ends soon anyway is not asked after.
  const asking = statementMs > 2 * ASK_MS ? setInterval(() => void ask(), ASK_MS) : undefined
  async function ask(): Promise<void> {
    if (!(await isThere())) giveUpNow()
  }
  return () => {
    done = true
    clearTimeout(last)
    clearInterval(asking)
  }
}

/** Whether Postgres answers a new connection in ASK_ANSWER_MS. Who asks at the same time shares one answer. */
function shareAsking(databaseUrl: string): () => Promise<boolean> {
  let asked: Promise<boolean> | undefined
  async function ask(): Promise<boolean> {
    const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: ASK_ANSWER_MS })
    client.on('error', () => {})
    try {
      await client.connect()
      return true
    } catch (error) {
      // One that is too busy to take more says so itself.
      return faultCode(error).startsWith('53')
    } finally {
      // Not waited for: an answer is all that was asked for.
      void client.end().catch(() => {})
    }
  }
  return () => (asked ??= ask().finally(() => (asked = undefined)))
}
