import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from 'kysely'
import pg from 'pg'
import { Problem } from '../../errors.ts'
import { faultCode, isConnectionFault } from './faults.ts'
import { SERVICE_ROLE, startAs } from './roles.ts'

/** How long a caller waits for a connection before it is answered `unavailable`. */
const CONNECT_MS = 1_500
/** How long after the statement timeout of Postgres the client closes the connection. */
const GRACE_MS = 100
/** While a long statement runs, the client checks this often whether Postgres still answers. */
const CHECK_EVERY_MS = 1_000
/** How long such a check waits for Postgres. */
const CHECK_MS = 700
/** Most callers that wait for a connection. */
const WAITING_MAX = 10_000

/**
 * Opens a pool in which every wait has a bound. Postgres itself ends a statement after `statementMs` (SQLSTATE 57014), so no
 * statement goes on after its caller was told that it failed. If Postgres does not answer, because it is stopped or the
 * network is cut, the client closes the connection.
 *
 * A broken connection is never used again, and neither is one that is older than the break. So a restart of Postgres causes
 * one error, not one for each connection.
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
  /** How many connections have broken so far. */
  let breaks = 0
  /** For each connection, the value of `breaks` when it was made. */
  const breaksBefore = new WeakMap<pg.PoolClient, number>()
  // A connection that breaks while idle is replaced at the next use. If Postgres is away, the next statement fails.
  pool.on('error', () => {})
  pool.on('connect', (client) => {
    breaksBefore.set(client, breaks)
    // If it breaks while in use, its statement fails. Without this listener the error would also end the process.
    client.on('error', () => {})
  })
  const isPostgresUp = shareChecks(databaseUrl)

  async function takeConnection(): Promise<PostgresPoolClient> {
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
      if (breaksBefore.get(client) === breaks || stale > connectionsMax) return withDeadline(client)
      client.release(true)
    }
  }

  function withDeadline(client: pg.PoolClient): PostgresPoolClient {
    let broken = false
    async function query<Row>(text: string, values: readonly unknown[]): Promise<PostgresQueryResult<Row>> {
      // While a statement runs, end() does not wait for Postgres. It destroys the socket, and the statement fails.
      const answered = startDeadline(statementMs, isPostgresUp, () => void client.end())
      try {
        return (await client.query(text, values as unknown[])) as unknown as PostgresQueryResult<Row>
      } catch (error) {
        if (!broken && isConnectionFault(error)) {
          broken = true
          breaks += 1
        }
        throw error
      } finally {
        answered()
      }
    }
    return { query: query as PostgresPoolClient['query'], release: () => client.release(broken) }
  }

  return { connect: takeConnection, end: () => pool.end(), options: pool.options }
}

/**
 * Calls `abandon` when a statement is overdue, or when Postgres is found to be away.
 *
 * @returns the function to call when the statement has ended; after it `abandon` is not called.
 */
function startDeadline(statementMs: number, isPostgresUp: () => Promise<boolean>, abandon: () => void): () => void {
  let ended = false
  const abandonUnlessEnded = () => {
    if (!ended) abandon()
  }
  // A busy process may have an answer in its socket that it has not read yet. setImmediate() lets it read that first.
  const deadline = setTimeout(() => setImmediate(abandonUnlessEnded), statementMs + GRACE_MS)
  // A short statement needs no check: its deadline comes soon.
  const checks = statementMs > 2 * CHECK_EVERY_MS ? setInterval(() => void checkPostgres(), CHECK_EVERY_MS) : undefined
  async function checkPostgres(): Promise<void> {
    if (!(await isPostgresUp())) abandonUnlessEnded()
  }
  return () => {
    ended = true
    clearTimeout(deadline)
    clearInterval(checks)
  }
}

/** Checks whether Postgres answers a new connection within CHECK_MS. Checks at the same time share one connection. */
function shareChecks(databaseUrl: string): () => Promise<boolean> {
  let running: Promise<boolean> | undefined
  async function tryConnecting(): Promise<boolean> {
    const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: CHECK_MS })
    client.on('error', () => {})
    try {
      await client.connect()
      return true
    } catch (error) {
      // Class 53: Postgres answered that it has no room for another connection. So it is up.
      return faultCode(error).startsWith('53')
    } finally {
      // Not awaited: the check has its answer.
      void client.end().catch(() => {})
    }
  }
  return () => (running ??= tryConnecting().finally(() => (running = undefined)))
}
