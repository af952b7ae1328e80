import { Kysely, PostgresDialect } from 'kysely'
import { openPool } from './bounded-pool.ts'
import type { DB } from './generated.ts'

export type Db = Kysely<DB>

/** Postgres ends a statement after this; a decision's own lock_timeout (1.5 s) comes first. */
const STATEMENT_MS = 1_700
/** The same for a report, which reads much. */
const REPORT_MS = 8_000
/** So many reports at once, on connections of their own: they never take those of decisions. */
const REPORTS_MAX = 4

const reports = new WeakMap<Db, Db>()

/**
 * Opens a pool. Nothing connects before the first statement, and nothing depends on the state of a session.
 *
 * @param options.statementMs for work that may take its time, as at the start; Postgres ends a statement after it.
 */
export function connect(databaseUrl: string, options: { connectionsMax?: number; statementMs?: number } = {}): Db {
  const { connectionsMax = 10, statementMs = STATEMENT_MS } = options
  const pool = openPool(databaseUrl, { connectionsMax, statementMs })
  const reportPool = openPool(databaseUrl, { connectionsMax: REPORTS_MAX, statementMs: REPORT_MS })
  const end = async () => {
    await Promise.all([pool.end(), reportPool.end()])
  }
  const db: Db = new Kysely<DB>({ dialect: new PostgresDialect({ pool: { ...pool, end } }) })
  reports.set(db, new Kysely<DB>({ dialect: new PostgresDialect({ pool: reportPool }) }))
  return db
}

/**
 * Runs reads that may take long in one read-only transaction, on a connection for reports; each ends after REPORT_MS
 * (SQLSTATE 57014 then).
 */
export function readReport<Answer>(db: Db, read: (transaction: Db) => Promise<Answer>): Promise<Answer> {
  return (reports.get(db) ?? db).transaction().setAccessMode('read only').execute(read)
}
