import { Kysely, PostgresDialect, sql } from 'kysely'
import { openPool } from './bounded-pool.ts'
import type { DB } from '../generated.ts'
import { NO_ROLES, READER_ROLE, type Roles } from './roles.ts'

export type Db = Kysely<DB>

/** Postgres ends a statement after this; the lock_timeout of what decides (1 or 1.5 s) comes first. */
const STATEMENT_MS = 1_700
/** The same for a report, which reads much. */
const REPORT_MS = 8_000
/** So many reports at once, on connections of their own: they never take those of decisions. */
const REPORTS_MAX = 4

/**
 * Selected first in a transaction of several statements: Postgres ends it after ten seconds in which we ask for nothing. A
 * process that froze, or that the network has lost, would keep its locks for as long as its connection lasts.
 */
export const endsWhenIdle = sql`set_config('idle_in_transaction_session_timeout', '10000', true)`

/** Of a pool: its connections for reports, and whether reads of one tenant can be the reader's. */
const companions = new WeakMap<Db, { reports: Db; reader: boolean }>()

/**
 * Opens a pool. Nothing connects before the first statement, and nothing depends on the state of a session.
 *
 * @param options.statementMs for work that may take its time, as at the start; Postgres ends a statement after it.
 * @param options.roles as findRoles() found them; by default statements run as the login.
 */
export function connect(
  databaseUrl: string,
  options: { connectionsMax?: number; statementMs?: number; roles?: Roles } = {},
): Db {
  const { connectionsMax = 10, statementMs = STATEMENT_MS, roles = NO_ROLES } = options
  const pool = openPool(databaseUrl, { connectionsMax, statementMs, asService: roles.service })
  const reportPool = openPool(databaseUrl, {
    connectionsMax: REPORTS_MAX,
    statementMs: REPORT_MS,
    asService: roles.service,
  })
  const end = async () => {
    await Promise.all([pool.end(), reportPool.end()])
  }
  const db: Db = new Kysely<DB>({ dialect: new PostgresDialect({ pool: { ...pool, end } }) })
  const reports: Db = new Kysely<DB>({ dialect: new PostgresDialect({ pool: reportPool }) })
  companions.set(db, { reports, reader: roles.reader })
  return db
}

/** The connections with the bound of reports, for a change of many quotas or holds too: it takes long on a busy machine. */
export function slowConnections(db: Db): Db {
  return companions.get(db)?.reports ?? db
}

/**
 * Runs reads that may take long in one read-only transaction, on a connection for reports; each ends after REPORT_MS
 * (SQLSTATE 57014 then).
 *
 * @param tenantId as for readOf().
 */
export function readReport<Answer>(
  db: Db,
  tenantId: string | null,
  read: (transaction: Db) => Promise<Answer>,
): Promise<Answer> {
  return readIn(slowConnections(db), isNarrowed(db) ? tenantId : null, async (transaction) => {
    // Where Postgres can compile, it would for each of these, whose plans look dear: that takes longer than most of them read.
    await sql`select set_config('jit', 'off', true), ${endsWhenIdle}`.execute(transaction)
    return read(transaction)
  })
}

/**
 * Runs reads of one tenant: as the reader, who sees that tenant's rows and no others, whatever the statements ask for. For
 * one transaction, which ends with its role and tenant: nothing stays on the connection, nor on a pooler's.
 *
 * @param tenantId null: of all tenants; then the read runs as it is.
 */
export function readOf<Answer>(
  db: Db,
  tenantId: string | null,
  read: (transaction: Db) => Promise<Answer>,
): Promise<Answer> {
  return tenantId !== null && isNarrowed(db) ? readIn(db, tenantId, read) : read(db)
}

function isNarrowed(db: Db): boolean {
  return companions.get(db)?.reader ?? false
}

function readIn<Answer>(db: Db, tenantId: string | null, read: (transaction: Db) => Promise<Answer>): Promise<Answer> {
  return db
    .transaction()
    .setAccessMode('read only')
    .execute(async (transaction) => {
      if (tenantId !== null) await becomeReader(transaction, tenantId)
      return read(transaction)
    })
}

/** From here to its end, a transaction sees the rows of one tenant. */
export async function becomeReader(transaction: Db, tenantId: string): Promise<void> {
  await sql`
    select ${endsWhenIdle}, set_config('purser.tenant', ${tenantId}, true), set_config('role', ${READER_ROLE}, true)`.execute(
    transaction,
  )
}
