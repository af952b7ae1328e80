import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely'
import {
  Migrator,
  NO_MIGRATIONS,
  type Migration,
  type MigrationProvider,
  type MigrationResultSet,
} from 'kysely/migration'
import pg from 'pg'
import { applyFunctionFiles, dropFunctionsFromFiles, listChangedFunctionFiles } from './function-files.ts'
import { ensureJobSchema, migrateJobQueue } from '../pool/job-queue.ts'
import {
  describeMigratorTables,
  ensureBookkeeping,
  hasBookkeeping,
  listForeignObjects,
  migrationLockTable,
  migrationTable,
  readFunctionsFromFiles,
  recordObjects,
  removeBookkeeping,
  schemaName,
  nameObject,
} from './migration-bookkeeping.ts'
import { describeSqlError } from './migration-error.ts'
import { migrationsFolder, readMigrationFiles, type MigrationFiles, type NumberedMigration } from './migration-files.ts'

/** How long a run waits while another process migrates the same database. */
const runnerLockTimeoutMs = 120_000
/** How long a statement waits for a table. Short, because all later users of the table wait behind it. */
const tableLockTimeoutMs = 10_000
const runnerLockId = 4_871_305_266_174

/** A connection URL, or a pool (which stays open). */
export type MigrationTarget = string | pg.Pool

export interface MigrationOptions {
  /** The folder of the migrations. Default: this release's. */
  folder?: string
}

/** How far down: a number of migrations, down to a named one (which stays applied), or all. */
export type DownTarget = { steps: number } | { to: string } | { all: true }

export interface MigrationStatus {
  migrations: { name: string; appliedAt: Date | null }[]
  /** Function files that differ from what was last applied. */
  changedFunctionFiles: string[]
  /** Objects in our schemas that these migrations did not make. */
  foreignObjects: string[]
}

/** What a run brought; all of it empty where the database was up to date. */
export interface MigrationOutcome {
  /** The names of the migrations that were applied. */
  migrations: string[]
  /** How many functions were applied: every one, when any of their files changed. */
  functions: number
  /** The revision that the job queue was brought to. */
  jobQueueRevision: number | null
  /** What could not be protected, in words. */
  unprotected: string[]
}

const NOTHING_DONE: MigrationOutcome = { migrations: [], functions: 0, jobQueueRevision: null, unprotected: [] }

/** Objects in our schemas that these migrations did not make. */
export class ForeignObjectsError extends Error {
  readonly objects: string[]

  constructor(objects: string[]) {
    super(
      `Nothing was changed: the schema holds objects that these migrations did not make:\n${objects.map((object) => `  ${object}`).join('\n')}`,
    )
    this.objects = objects
  }
}

/**
 * Brings a database to this release, in one transaction: if anything fails, nothing is changed. First it applies the pending
 * numbered migrations. Then, if any function file changed, it applies all of them. Then it updates the job queue.
 *
 * Several processes may call it at once: one works, the others wait (120 s at most) and find nothing to do. A login that does
 * not own the schema changes nothing: it finds the database up to date, or the error says what the owner has to apply.
 *
 * At the end pin_plans() sets the planner settings of functions, which applying their files has reset, and protect_schema()
 * sets rights and row-level security on everything in the schemas.
 *
 * Rules for the author of a migration:
 * - The runner creates the schemas, and drops them after the last down. A migration does neither.
 * - Each file runs within the runner's transaction, and neither begins nor ends one. Values that a file adds to an enum can be
 *   used only after the whole run is committed.
 * - The last statement of each `.up.sql` is a `do $$ … $$` block that raises if something it should have created is missing.
 * - A numbered migration does not rely on function files. A function that a table, trigger, view or index needs is created by the
 *   numbered migration itself; its later bodies may be in a function file.
 * - A function whose result type changes is dropped (`drop function if exists`) by a numbered migration.
 * - A down file drops functions with `if exists`: the ones that only function files created are dropped before it runs.
 * @param log receives one line for each step.
 * @returns what it brought.
 * @throws ForeignObjectsError, with nothing changed; Error that names the file that failed, or what the owner has to apply.
 */
export async function migrateUp(
  target: MigrationTarget,
  log: (line: string) => void,
  options: MigrationOptions = {},
): Promise<MigrationOutcome> {
  const files = readMigrationFiles(options.folder ?? migrationsFolder)
  return runLocked(target, async (trx) => {
    const foreign = await listForeignObjects(trx)
    if (foreign.length > 0) throw new ForeignObjectsError(foreign.map(nameObject))
    if (await isAnothersSchema(trx)) {
      await refuseUnlessUpToDate(trx, files, log)
      return NOTHING_DONE
    }
    await ensureBookkeeping(trx)
    await refuseNewerDatabase(trx, files)
    const migrator = openMigrator(trx, files, log)
    const migrations = throwIfFailed(await migrator.migrateToLatest())
    if (migrations.length > 0) await describeMigratorTables(trx)
    let functions = await readFunctionsFromFiles(trx)
    const changed = await listChangedFunctionFiles(trx, files.functions)
    if (changed.length > 0) {
      functions = await applyFunctionFiles(trx, files.functions, functions)
      log(`applied all ${files.functions.length} functions, because ${changed.length} function files changed`)
    }
    await ensureJobSchema(trx)
    const revision = await migrateJobQueue(trx, log)
    if (revision !== null) log(`updated the job queue to revision ${revision}`)
    if (await isMade(trx, 'pin_plans()')) await sql`select copilot_internal.pin_plans()`.execute(trx)
    const unprotected = await protectSchema(trx, log)
    if (migrations.length > 0 || changed.length > 0 || revision !== null) await recordObjects(trx, [], functions)
    else log('nothing to do')
    return {
      migrations,
      functions: changed.length > 0 ? files.functions.length : 0,
      jobQueueRevision: revision,
      unprotected,
    }
  })
}

/**
 * Takes a database back to an earlier release, in one transaction: if anything fails, nothing is changed.
 *
 * First it drops the functions that only function files created, because their bodies belong to this release. The earlier
 * release applies its own. After the last down migration nothing of ours is left, not even the schemas.
 * @throws ForeignObjectsError if everything is to go, but the schemas hold objects of others; Error that names the file that
 * failed, or an unknown migration.
 */
export async function migrateDown(
  target: MigrationTarget,
  log: (line: string) => void,
  downTo: DownTarget,
  options: MigrationOptions = {},
): Promise<void> {
  const files = readMigrationFiles(options.folder ?? migrationsFolder)
  await runLocked(target, async (trx) => {
    if (!(await hasBookkeeping(trx))) return log('nothing to do')
    await refuseNewerDatabase(trx, files)
    const migrator = openMigrator(trx, files, log)
    const applied = (await migrator.getMigrations()).filter(({ executedAt }) => executedAt).map(({ name }) => name)
    const keep = namesToKeep(applied, downTo)
    const foreign = await listForeignObjects(trx)
    if (keep.length === 0 && foreign.length > 0) throw new ForeignObjectsError(foreign.map(nameObject))
    if (keep.length === applied.length && keep.length > 0) return log('nothing to do')
    const functions = await readFunctionsFromFiles(trx)
    await dropFunctionsFromFiles(trx, functions)
    throwIfFailed(await migrator.migrateTo(keep.at(-1) ?? NO_MIGRATIONS))
    if (keep.length === 0) await removeBookkeeping(trx)
    else await recordObjects(trx, foreign, functions)
  })
}

/** Lists what is applied, what is pending and which objects are not ours. Changes nothing. */
export async function migrationStatus(
  target: MigrationTarget,
  options: MigrationOptions = {},
): Promise<MigrationStatus> {
  const files = readMigrationFiles(options.folder ?? migrationsFolder)
  return withDatabase(target, async (db) => {
    const migrator = openMigrator(db, files, () => {})
    const migrations = (await migrator.getMigrations()).map(({ name, executedAt }) => ({
      name,
      appliedAt: executedAt ?? null,
    }))
    const changedFunctionFiles = (await hasBookkeeping(db))
      ? await listChangedFunctionFiles(db, files.functions)
      : files.functions.map(({ file }) => file)
    return { migrations, changedFunctionFiles, foreignObjects: (await listForeignObjects(db)).map(nameObject) }
  })
}

async function withDatabase<T>(target: MigrationTarget, work: (db: Kysely<unknown>) => Promise<T>): Promise<T> {
  const pool = typeof target === 'string' ? new pg.Pool({ connectionString: target, max: 1 }) : target
  // If an idle connection breaks, the next query fails. Without a listener the error would also end the process.
  const ignore = () => {}
  pool.on('error', ignore)
  try {
    return await work(new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) }))
  } finally {
    if (typeof target === 'string') await pool.end()
    else pool.off('error', ignore)
  }
}

/** One run at a time per database. Read committed, so that a run which has waited sees what the other run did. */
function runLocked<T>(target: MigrationTarget, work: (trx: Transaction<unknown>) => Promise<T>): Promise<T> {
  return withDatabase(target, (db) =>
    db
      .transaction()
      .setIsolationLevel('read committed')
      .execute(async (trx) => {
        await sql`select set_config('lock_timeout', ${String(runnerLockTimeoutMs)}, true)`.execute(trx)
        await sql`select pg_advisory_xact_lock(${runnerLockId})`.execute(trx)
        return work(trx)
      }),
  )
}

function openMigrator(db: Kysely<unknown>, files: MigrationFiles, log: (line: string) => void): Migrator {
  const provider: MigrationProvider = {
    getMigrations: async () => Object.fromEntries(files.numbered.map((file) => [file.name, toMigration(file, log)])),
  }
  return new Migrator({
    db,
    provider,
    migrationTableName: migrationTable,
    migrationLockTableName: migrationLockTable,
    migrationTableSchema: schemaName,
  })
}

function toMigration({ name, up, down }: NumberedMigration, log: (line: string) => void): Migration {
  const run = (direction: 'up' | 'down', text: string) => async (db: Kysely<unknown>) => {
    const startedAt = performance.now()
    // After a failure the Migrator releases its lock on the same connection. A failed transaction would refuse that statement.
    await sql`savepoint migration`.execute(db)
    try {
      await sql`select set_config('lock_timeout', ${String(tableLockTimeoutMs)}, true)`.execute(db)
      await sql.raw(text).execute(db)
    } catch (error) {
      await sql`rollback to savepoint migration`.execute(db)
      throw describeSqlError(`${name}.${direction}.sql`, text, error)
    }
    await sql`release savepoint migration`.execute(db)
    log(`${direction} ${name} (${Math.round(performance.now() - startedAt)} ms)`)
  }
  return { up: run('up', up), down: run('down', down) }
}

/** Returns the names of the migrations that ran. */
function throwIfFailed({ error, results }: MigrationResultSet): string[] {
  if (error !== undefined) throw error instanceof Error ? error : new Error('The migration failed', { cause: error })
  return (results ?? []).map(({ migrationName }) => migrationName)
}

/** Whether a function of ours is there: the files of a test, or of an early release, need not make it. */
async function isMade(db: Kysely<unknown>, signature: string): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`
    select to_regprocedure(${`${schemaName}.${signature}`}) is not null as found`.execute(db)
  return rows[0]!.found
}

/** Sets rights and row-level security on every object there is now. Answers and logs what could not be protected. */
async function protectSchema(db: Kysely<unknown>, log: (line: string) => void): Promise<string[]> {
  if (!(await isMade(db, 'protect_schema()'))) return []
  await sql`select set_config('lock_timeout', ${String(tableLockTimeoutMs)}, true)`.execute(db)
  const missing = await sql<{ line: string }>`select line from copilot_internal.protect_schema() line`.execute(db)
  const lines = missing.rows.map(({ line }) => line)
  for (const line of lines) log(`not protected: ${line}`)
  return lines
}

/** Whether the schema exists and this login lacks its owner's rights, as the login of a service does that is not the owner. */
async function isAnothersSchema(db: Kysely<unknown>): Promise<boolean> {
  const { rows } = await sql<{ another: boolean }>`
    select not pg_has_role(current_user, nspowner, 'usage') as another from pg_namespace where nspname = ${schemaName}`.execute(
    db,
  )
  return rows[0]?.another ?? false
}

/** @throws Error that names what the owner has to apply. */
async function refuseUnlessUpToDate(
  db: Kysely<unknown>,
  files: MigrationFiles,
  log: (line: string) => void,
): Promise<void> {
  await refuseNewerDatabase(db, files)
  const migrations = await openMigrator(db, files, log).getMigrations()
  const pending = migrations.filter(({ executedAt }) => executedAt === undefined).map(({ name }) => name)
  const missing = [...pending, ...(await listChangedFunctionFiles(db, files.functions))]
  if (missing.length > 0) {
    throw new Error(
      `The database is not up to date, and this login does not own its schema. Run "npm run migrate -- up" as the owner. It will apply: ${missing.join(', ')}`,
    )
  }
  log('nothing to do: the schema is up to date (and owned by another login)')
}

async function refuseNewerDatabase(db: Kysely<unknown>, files: MigrationFiles): Promise<void> {
  if (!(await hasBookkeeping(db))) return
  const table = sql.table(`${schemaName}.${migrationTable}`)
  const { rows } = await sql<{ name: string }>`select name from ${table} order by name`.execute(db)
  const unknown = rows.filter(({ name }) => !files.numbered.some((file) => file.name === name))
  if (unknown.length > 0) {
    throw new Error(
      `The database was migrated by another release. It has migrations that are unknown here: ${unknown.map(({ name }) => name).join(', ')}`,
    )
  }
}

function namesToKeep(applied: string[], downTo: DownTarget): string[] {
  if ('all' in downTo) return []
  if ('steps' in downTo) return applied.slice(0, Math.max(0, applied.length - downTo.steps))
  const index = applied.indexOf(downTo.to)
  if (index < 0) throw new Error(`The migration ${downTo.to} is not applied`)
  return applied.slice(0, index + 1)
}
