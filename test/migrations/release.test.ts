import type pg from 'pg'
import t from 'tap'
import { migrateDown, migrateUp, migrationStatus } from '../../src/db/migrate/migrations.ts'
import { describeCatalog } from '../helpers/money/catalog.ts'
import { createEmptyDatabase } from '../helpers/database.ts'

const silent = () => {}

t.test('up, all the way down, and up again gives the same schema', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const before = await describeEverything(pool)
  await migrateUp(pool, silent)
  const first = await describeCatalog(pool)
  t.not(first.length, 0)

  await migrateDown(pool, silent, { all: true })
  t.same(await describeCatalog(pool), [])
  t.same(await describeEverything(pool), before, 'nothing is left anywhere in the database')

  await migrateUp(pool, silent)
  t.same(await describeCatalog(pool), first)
})

t.test('each migration can go down and up again', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  await migrateUp(pool, silent)
  const whole = await describeCatalog(pool)
  const { migrations } = await migrationStatus(pool)
  for (let steps = 1; steps <= migrations.length; steps++) {
    await migrateDown(pool, silent, { steps })
    const { migrations: left } = await migrationStatus(pool)
    t.equal(left.filter(({ appliedAt }) => appliedAt === null).length, steps)
    await migrateUp(pool, silent)
    t.same(await describeCatalog(pool), whole, `after ${steps} steps down and up`)
  }
})

t.test('a second up finds nothing to do, and no foreign objects', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  await migrateUp(pool, silent)
  const lines: string[] = []
  await migrateUp(pool, (line) => lines.push(line))
  t.same(lines, ['nothing to do'])
  const status = await migrationStatus(pool)
  t.same(status.changedFunctionFiles, [])
  t.same(status.foreignObjects, [])
  t.ok(status.migrations.every(({ appliedAt }) => appliedAt instanceof Date))
})

/** Lists what the database holds outside the system's own schemas. */
async function describeEverything(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ line: string }>(`
    select 'schema ' || nspname as line from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
    union all
    select 'relation ' || oid::regclass from pg_class where relnamespace = 'public'::regnamespace
    union all
    select 'function ' || oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
    union all
    select 'extension ' || extname from pg_extension
    order by 1`)
  return rows.map((row) => row.line)
}
