import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import type { DB } from './generated.ts'

export type Db = Kysely<DB>

/** How long a caller waits for a connection before the service says that it is unavailable. */
const CONNECT_MS = 1_500
/** The client gives a statement up after this; a decision's own lock_timeout (1.5 s) comes first. */
const STATEMENT_MS = 10_000

/** Opens a pool. Nothing connects before the first statement, and nothing depends on the state of a session. */
export function connect(databaseUrl: string, options: { connectionsMax?: number } = {}): Db {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: options.connectionsMax ?? 10,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: STATEMENT_MS,
    keepAlive: true,
    application_name: 'purser',
  })
  // A connection that breaks while idle is replaced at the next use; the next statement tells if Postgres is away.
  pool.on('error', () => {})
  // One that breaks while it is lent tells its statement; without a listener of its own it would end the process.
  pool.on('connect', (client) => client.on('error', () => {}))
  return new Kysely<DB>({ dialect: new PostgresDialect({ pool }) })
}
