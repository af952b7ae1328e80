import { Logger, runMigrations } from 'graphile-worker'
import { CompiledQuery, sql, type Kysely } from 'kysely'
import { EventEmitter } from 'node:events'
import pg from 'pg'

/**
 * The schema of the job queue, with its tables as graphile-worker makes them. Not that package's usual name: another
 * program that uses it in the same database keeps a queue, and a revision, of its own.
 */
export const jobSchemaName = 'copilot_jobs'

const CONNECT_MS = 1_500
const STATEMENT_MS = 5_000
/** How long after Postgres should have ended a statement the connection is given up. */
const GRACE_MS = 500

export type JobQueue = ReturnType<typeof openJobQueue>

/**
 * Connections to the job queue, for the worker's own statements and nothing else; the jobs' work uses the service's.
 *
 * Nothing connects before it is used. A connection that breaks, or whose statement is not answered in time, is replaced.
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
  // What breaks shows in the next statement; unheard it would end the process.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return {
    pool,
    schema: jobSchemaName,
    /** Gives jobs back to the queue whose workers are gone; by itself it waits four hours for them. */
    unlock: async (workerPoolIds: string[]): Promise<void> => {
      await pool.query(`select ${jobSchemaName}.force_unlock_workers($1)`, [workerPoolIds])
    },
  }
}

/** Gives itself up where a statement is not answered in time: its way to Postgres is cut. */
class ImpatientClient extends pg.Client {
  #release: (error?: Error | boolean) => void = () => {}

  get release() {
    return this.#release
  }

  /** The pool sets it at each lending. Where a connection breaks during a stop, the worker gives it back twice. */
  set release(giveBack) {
    let given = false
    this.#release = (error) => {
      if (!given) giveBack(error)
      given = true
    }
  }

  override query = ((...args: Parameters<pg.Client['query']>): unknown => {
    const answer: unknown = super.query(...args)
    if (!(answer instanceof Promise)) return answer
    // With a statement out, end() does not wait for Postgres: it destroys the socket, and the statement fails.
    const timer = setTimeout(() => void this.end(), STATEMENT_MS + GRACE_MS)
    const answered = () => clearTimeout(timer)
    answer.then(answered, answered)
    return answer
  }) as pg.Client['query']
}

/** Makes the schema of the job queue, unless it exists. */
export async function ensureJobSchema(db: Kysely<unknown>): Promise<void> {
  // The table is graphile-worker's own; where it stands, that package asks for no right to make schemas.
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
 * @param warn receives what the package has to say about a queue of another revision.
 * @returns the revision, where it changed.
 * @throws Error for a queue that a newer release has changed so that this one cannot use it.
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

/** The package begins and ends a transaction for each of its steps; within ours these are savepoints. */
const WITHIN_TRANSACTION: Record<string, string> = {
  begin: 'savepoint job_queue',
  commit: 'release savepoint job_queue',
  rollback: 'rollback to savepoint job_queue',
}

/** What the package takes for a pool: it has the one connection of a transaction. */
function asPool(db: Kysely<unknown>): pg.Pool {
  const client = {
    query: (statement: string | { text: string; values?: unknown[] }, parameters: unknown[] = []) => {
      const { text, values = [] } = typeof statement === 'string' ? { text: statement, values: parameters } : statement
      return db.executeQuery(CompiledQuery.raw(WITHIN_TRANSACTION[text] ?? text, values))
    },
    release: () => {},
  }
  const pool = Object.assign(new EventEmitter(), { connect: async () => client, options: { max: 1 } })
  // The package complains about a pool that nobody listens to.
  pool.on('error', () => {}).on('connect', () => {})
  return pool as unknown as pg.Pool
}
