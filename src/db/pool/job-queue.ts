import { Logger, runMigrations } from 'graphile-worker'
import { CompiledQuery, sql, type Kysely } from 'kysely'
import { EventEmitter } from 'node:events'
import pg from 'pg'

/**
 * The schema of the job queue; graphile-worker makes its tables. It does not have that package's default name, so another program
 * that uses the package in the same database keeps its own queue and its own revision.
 */
export const jobSchemaName = 'copilot_jobs'

const CONNECT_MS = 1_500
const STATEMENT_MS = 5_000
/** How long after the statement timeout of Postgres the connection is closed. */
const GRACE_MS = 500

export type JobQueue = ReturnType<typeof openJobQueue>

/**
 * Opens the connections to the job queue. They are for graphile-worker's own statements only; the jobs themselves use the
 * service's connections.
 *
 * Nothing connects before the first use. A connection that breaks, or whose statement is not answered in time, is replaced.
 */
export function openJobQueue(databaseUrl: string, connectionsMax: number) {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: connectionsMax,
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: STATEMENT_MS,
    keepAlive: true,
    application_name: 'purser jobs',
    Client: ImpatientClient,
  })
  // The next statement fails if a connection breaks. Without a listener the error would also end the process.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return {
    pool,
    schema: jobSchemaName,
    /** Returns the jobs of dead workers to the queue. Without this they would stay locked for four hours. */
    unlock: async (workerPoolIds: string[]): Promise<void> => {
      await pool.query(`select ${jobSchemaName}.force_unlock_workers($1)`, [workerPoolIds])
    },
  }
}

/** A client that closes itself when a statement is not answered in time: the network to Postgres is cut. */
class ImpatientClient extends pg.Client {
  #release: (error?: Error | boolean) => void = () => {}

  get release() {
    return this.#release
  }

  /** The pool sets this each time it hands the client out. If a connection breaks during a stop, the worker releases it twice. */
  set release(releaseToPool) {
    let released = false
    this.#release = (error) => {
      if (!released) releaseToPool(error)
      released = true
    }
  }

  override query = ((...args: Parameters<pg.Client['query']>): unknown => {
    const answer: unknown = super.query(...args)
    if (!(answer instanceof Promise)) return answer
    // While a statement runs, end() does not wait for Postgres. It destroys the socket, and the statement fails.
    const timer = setTimeout(() => void this.end(), STATEMENT_MS + GRACE_MS)
    const answered = () => clearTimeout(timer)
    answer.then(answered, answered)
    return answer
  }) as pg.Client['query']
}

/** Creates the schema of the job queue, unless it exists. */
export async function ensureJobSchema(db: Kysely<unknown>): Promise<void> {
  // The table is graphile-worker's own. If it exists, that package does not need the right to create schemas.
  await sql
    .raw(`
    do $$
    begin
      if to_regnamespace('${jobSchemaName}') is null then create schema ${jobSchemaName}; end if;
    end
    $$;
    create table if not exists ${jobSchemaName}.migrations (
      id int primary key,
      ts timestamptz not null default now(),
      breaking boolean not null default false
    )`)
    .execute(db)
}

/**
 * Brings the job queue to the revision of the package, within the transaction of `db`.
 *
 * @param warn receives the package's warnings about a queue of another revision.
 * @returns the new revision; null if it did not change.
 * @throws Error if a newer release has changed the queue so that this one cannot use it.
 */
export async function migrateJobQueue(db: Kysely<unknown>, warn: (line: string) => void): Promise<number | null> {
  const before = await readRevision(db)
  await runMigrations({
    pgPool: asPool(db),
    schema: jobSchemaName,
    logger: new Logger(() => (level, message) => {
      if (level === 'warning' || level === 'error') warn(message)
    }),
  })
  const after = await readRevision(db)
  return after === before ? null : after
}

async function readRevision(db: Kysely<unknown>): Promise<number> {
  const { rows } = await sql<{ revision: number }>`
    select coalesce(max(id), 0) as revision from ${sql.table(`${jobSchemaName}.migrations`)}`.execute(db)
  return rows[0]!.revision
}

/** The package runs each of its steps in a transaction. Within our transaction these become savepoints. */
const WITHIN_TRANSACTION: Record<string, string> = {
  begin: 'savepoint job_queue',
  commit: 'release savepoint job_queue',
  rollback: 'rollback to savepoint job_queue',
}

/** A pool for the package that always hands out the one connection of our transaction. */
function asPool(db: Kysely<unknown>): pg.Pool {
  const client = {
    query: (statement: string | { text: string; values?: unknown[] }, parameters: unknown[] = []) => {
      const { text, values = [] } = typeof statement === 'string' ? { text: statement, values: parameters } : statement
      return db.executeQuery(CompiledQuery.raw(WITHIN_TRANSACTION[text] ?? text, values))
    },
    release: () => {},
  }
  const pool = Object.assign(new EventEmitter(), { connect: async () => client, options: { max: 1 } })
  // The package warns about a pool without listeners.
  pool.on('error', () => {}).on('connect', () => {})
  return pool as unknown as pg.Pool
}
