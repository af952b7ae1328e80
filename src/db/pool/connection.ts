import { Kysely, PostgresDialect, sql } from 'kysely'
import { openPool } from './bounded-pool.ts'
import { NO_ROLES, READER_ROLE, type Roles } from './roles.ts'

export type Db = Kysely<unknown>

/** Postgres ends a statement after this. The lock_timeout of the deciding functions (1 or 1.5 s) comes first. */
const STATEMENT_MS = 1_700
/** The same for a report, which reads much more. */
const REPORT_MS = 8_000
/** Most reports at once. They have connections of their own, and never take those of decisions. */
const REPORTS_MAX = 4

/**
 * Select this first in a transaction of several statements: Postgres then ends the transaction once it is idle for ten seconds.
 * Without it a process that froze, or that the network lost, would hold its locks for as long as its connection lasts.
 */
export const endsWhenIdle = sql`set_config('idle_in_transaction_session_timeout', '10000', true)`

/** For each pool: its connections for reports, and whether reads of one tenant can run as the reader role. */
const companions = new WeakMap<Db, { reports: Db; reader: boolean }>()

/**
 * Opens a pool. Nothing connects before the first statement, and nothing depends on the state of a session.
 *
 * @param options.statementMs when Postgres ends a statement; longer than the default for slow work, as at startup.
 * @param options.roles as findRoles() found them. By default statements run as the login.
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
  const db: Db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: { ...pool, end } }) })
  const reports: Db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: reportPool }) })
  companions.set(db, { reports, reader: roles.reader })
  return db
}

/** The connections for reports, with their longer bound. Also for a change of many quotas or holds, which may be slow. */
export function slowConnections(db: Db): Db {
  return companions.get(db)?.reports ?? db
}

/**
 * Runs reads that may take long in one read-only transaction, on a connection for reports. Postgres ends each statement after
 * REPORT_MS (SQLSTATE 57014).
 *
 * @param tenantId as for readForTenant().
 */
export function readReport<Answer>(
  db: Db,
  tenantId: string | null,
  read: (transaction: Db) => Promise<Answer>,
): Promise<Answer> {
  return readIn(slowConnections(db), isNarrowed(db) ? tenantId : null, async (transaction) => {
    // Without JIT: Postgres would compile each of these, as their plans look expensive. That takes longer than most reads.
    await sql`select set_config('jit', 'off', true), ${endsWhenIdle}`.execute(transaction)
    return read(transaction)
  })
}

/**
 * Runs reads for one tenant as the reader role, which sees only that tenant's rows, whatever the statements ask for. The role and
 * the tenant are set for one transaction. Nothing of them stays on the connection, or on a connection of a pooler.
 *
 * @param tenantId null for all tenants: then the read runs without the role.
 */
export function readForTenant<Answer>(
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

/** From now to its end, the transaction sees only the rows of one tenant. */
export async function becomeReader(transaction: Db, tenantId: string): Promise<void> {
  await sql`
    select ${endsWhenIdle}, set_config('purser.tenant', ${tenantId}, true), set_config('role', ${READER_ROLE}, true)`.execute(
    transaction,
  )
}
