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
  textOf,
} from './migration-bookkeeping.ts'
import { describeSqlError } from './migration-error.ts'
import { migrationsFolder, readMigrationFiles, type MigrationFiles, type NumberedMigration } from './migration-files.ts'

/** How long a run waits for another process that migrates the same database. */
const runnerLockTimeoutMs = 120_000
/** How long a statement waits for a table; meanwhile it makes all later users of the table wait, so this is short. */
const tableLockTimeoutMs = 10_000
const runnerLockId = 4_871_305_266_174

/** A connection URL, or a pool (which stays open). */
export type MigrationTarget = string | pg.Pool

export interface MigrationOptions {
  /** The folder of the migrations; that of this release by default. */
  folder?: string
}

/** How far down: a number of steps, to a migration (which stays applied), or all. */
export type DownTarget = { steps: number } | { to: string } | { all: true }

export interface MigrationStatus {
  migrations: { name: string; appliedAt: Date | null }[]
  /** Function files whose content is not the one applied. */
  changedFunctionFiles: string[]
  /** Objects in our schemas that these migrations did not make. */
  foreignObjects: string[]
}

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
 * Brings a database to this release: the pending numbered migrations, then, when any of their files changed,
 * the current body of every function, then the job queue, all in one transaction that a failure rolls back whole.
 *
 * Two processes may do so at once: one works, the other waits (120 s at most) and finds nothing to do. A login that does
 * not own the schema changes nothing: it finds the database up to date, or says what the owner has to bring.
 *
 * At the end pin_plans() sets the planner settings of functions, which applying their files has reset, and protect_schema()
 * sets rights and row-level security on all that stands there.
 *
 * What a migration's author keeps to:
 * - The runner makes the schemas, and removes them after the last down; a migration does neither.
 * - Each file runs within the runner's transaction and neither begins nor ends one. The values that one adds to an
 *   enum can be used once the whole run is committed.
 * - The last statement of each `.up.sql` is a `do $$ … $$` block that raises when something it should have made is missing.
 * - A numbered migration relies on no function file. A function that a table, trigger, view or index needs
 *   is made by the numbered migration itself; its later bodies may stand in a function file.
 * - A function whose result changes is dropped (`drop function if exists`) by a numbered migration.
 * - A down file drops functions with `if exists`: those that only function files made are gone before it runs.
 * @param log receives one line per migration.
 * @throws ForeignObjectsError, with nothing changed; Error that names the file that failed.
 */
export async function migrateUp(
  target: MigrationTarget,
  log: (line: string) => void,
  options: MigrationOptions = {},
): Promise<void> {
  const files = readMigrationFiles(options.folder ?? migrationsFolder)
  await runLocked(target, async (trx) => {
    const foreign = await listForeignObjects(trx)
    if (foreign.length > 0) throw new ForeignObjectsError(foreign.map(textOf))
    if (await isAnothersSchema(trx)) return refuseUnlessUpToDate(trx, files, log)
    await ensureBookkeeping(trx)
    await refuseNewerDatabase(trx, files)
    const migrator = openMigrator(trx, files, log)
    const steps = throwIfFailed(await migrator.migrateToLatest())
    if (steps > 0) await describeMigratorTables(trx)
    let functions = await readFunctionsFromFiles(trx)
    const changed = await listChangedFunctionFiles(trx, files.functions)
    if (changed.length > 0) {
      functions = await applyFunctionFiles(trx, files.functions, functions)
      log(`applied ${files.functions.length} functions, as ${changed.length} of their files changed`)
    }
    await ensureJobSchema(trx)
    const revision = await migrateJobQueue(trx, log)
    if (revision !== null) log(`the job queue is at its revision ${revision}`)
    if (await isMade(trx, 'pin_plans()')) await sql`select copilot_internal.pin_plans()`.execute(trx)
    await protectSchema(trx, log)
    if (steps > 0 || changed.length > 0 || revision !== null) await recordObjects(trx, [], functions)
    else log('nothing to do')
  })
}

/**
 * Takes a database back, in one transaction that a failure rolls back whole.
 *
 * First all functions go that only function files made, as their bodies belong to this release; the release one goes
 * back to applies its own. After the last step nothing of ours is left, the schemas included.
 * @throws ForeignObjectsError when all is to go and something else stands in the schemas; Error that names
 * the file that failed, or an unknown migration.
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
    if (keep.length === 0 && foreign.length > 0) throw new ForeignObjectsError(foreign.map(textOf))
    if (keep.length === applied.length && keep.length > 0) return log('nothing to do')
    const functions = await readFunctionsFromFiles(trx)
    await dropFunctionsFromFiles(trx, functions)
    throwIfFailed(await migrator.migrateTo(keep.at(-1) ?? NO_MIGRATIONS))
    if (keep.length === 0) await removeBookkeeping(trx)
    else await recordObjects(trx, foreign, functions)
  })
}

/** Tells what is applied, what is pending and what does not belong there; changes nothing. */
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
    return { migrations, changedFunctionFiles, foreignObjects: (await listForeignObjects(db)).map(textOf) }
  })
}

async function withDatabase<T>(target: MigrationTarget, work: (db: Kysely<unknown>) => Promise<T>): Promise<T> {
  const pool = typeof target === 'string' ? new pg.Pool({ connectionString: target, max: 1 }) : target
  // Errors of idle connections show in the next query, or come while they close; unheard they would end the process.
  const ignore = () => {}
  pool.on('error', ignore)
  try {
    return await work(new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) }))
  } finally {
    if (typeof target === 'string') await pool.end()
    else pool.off('error', ignore)
  }
}

/** One run at a time per database; read committed, so that the one who waited sees what the other did. */
function runLocked(target: MigrationTarget, work: (trx: Transaction<unknown>) => Promise<void>): Promise<void> {
  return withDatabase(target, (db) =>
    db
      .transaction()
      .setIsolationLevel('read committed')
      .execute(async (trx) => {
        await sql`select set_config('lock_timeout', ${String(runnerLockTimeoutMs)}, true)`.execute(trx)
        await sql`select pg_advisory_xact_lock(${runnerLockId})`.execute(trx)
        await work(trx)
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
    // The Migrator gives its lock back on the same connection after a failure, which a failed transaction would refuse.
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

/** Answers how many migrations ran. */
function throwIfFailed({ error, results }: MigrationResultSet): number {
  if (error !== undefined) throw error instanceof Error ? error : new Error('The migration failed', { cause: error })
  return results?.length ?? 0
}

/** Whether a function of ours is there: the files of a test, or of an early release, need not make it. */
async function isMade(db: Kysely<unknown>, signature: string): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`
    select to_regprocedure(${`${schemaName}.${signature}`}) is not null as found`.execute(db)
  return rows[0]!.found
}

/** Rights and row-level security on all that stands there now; told only where something could not be protected. */
async function protectSchema(db: Kysely<unknown>, log: (line: string) => void): Promise<void> {
  if (!(await isMade(db, 'protect_schema()'))) return
  await sql`select set_config('lock_timeout', ${String(tableLockTimeoutMs)}, true)`.execute(db)
  const missing = await sql<{ line: string }>`select line from copilot_internal.protect_schema() line`.execute(db)
  for (const { line } of missing.rows) log(`not protected: ${line}`)
}

/** Whether the schema is there and this login has not its owner's rights, as a service with a login of its own. */
async function isAnothersSchema(db: Kysely<unknown>): Promise<boolean> {
  const { rows } = await sql<{ another: boolean }>`
    select not pg_has_role(current_user, nspowner, 'usage') as another from pg_namespace where nspname = ${schemaName}`.execute(
    db,
  )
  return rows[0]?.another ?? false
}

/** @throws Error that names what the owner has to bring. */
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
      `The database is not of this release, and this login does not own its schema. As the owner run "npm run migrate -- up", which brings: ${missing.join(', ')}`,
    )
  }
  log('nothing to do: the schema is of this release, and another login owns it')
}

async function refuseNewerDatabase(db: Kysely<unknown>, files: MigrationFiles): Promise<void> {
  if (!(await hasBookkeeping(db))) return
  const table = sql.table(`${schemaName}.${migrationTable}`)
  const { rows } = await sql<{ name: string }>`select name from ${table} order by name`.execute(db)
  const unknown = rows.filter(({ name }) => !files.numbered.some((file) => file.name === name))
  if (unknown.length > 0) {
    throw new Error(
      `The database is of another release; these of its migrations are unknown here: ${unknown.map(({ name }) => name).join(', ')}`,
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
