import pg from 'pg'
import t from 'tap'
import { ForeignObjectsError, migrateDown, migrateUp, migrationStatus } from '../../src/db/migrate/migrations.ts'
import { describeCatalog } from '../helpers/money/catalog.ts'
import { createEmptyDatabase } from '../helpers/database.ts'

const silent = () => {}
const foreignObjects = `
  create schema if not exists copilot_internal;
  create schema if not exists copilot_partitions;
  create table copilot_internal.left_table (id int primary key, code serial);
  create view copilot_internal.left_view as select id from copilot_internal.left_table;
  create materialized view copilot_internal.left_matview as select id from copilot_internal.left_table;
  create sequence copilot_internal.left_sequence;
  create function copilot_internal.left_function(int, text) returns int language sql as 'select 1';
  create type copilot_internal.left_enum as enum ('one');
  create type copilot_internal.left_composite as (one int);
  create domain copilot_internal.left_domain as int;
  create table copilot_partitions.left_elsewhere (id int);`
const listed = [
  'function copilot_internal.left_function(integer,pg_catalog.text)',
  'materialized view copilot_internal.left_matview',
  'sequence copilot_internal.left_sequence',
  'table copilot_internal.left_table',
  'table copilot_partitions.left_elsewhere',
  'type copilot_internal.left_composite',
  'type copilot_internal.left_domain',
  'type copilot_internal.left_enum',
  'view copilot_internal.left_view',
]

async function refusal(run: Promise<unknown>): Promise<string[]> {
  try {
    await run
    return []
  } catch (error) {
    if (!(error instanceof ForeignObjectsError)) throw error
    return error.objects
  }
}

t.test('up on a database with objects of another system lists them and changes nothing', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  await pool.query(foreignObjects)
  const before = await describeCatalog(pool)
  t.same(await refusal(migrateUp(pool, silent)), listed)
  t.same(await describeCatalog(pool), before)
  t.same((await migrationStatus(pool)).foreignObjects, listed)
})

t.test('up on a migrated database with objects that were added by hand lists them and changes nothing', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  await migrateUp(pool, silent)
  await pool.query(foreignObjects)
  const before = await describeCatalog(pool)
  t.same(await refusal(migrateUp(pool, silent)), listed)
  t.same(await describeCatalog(pool), before)
})

t.test('a full down never drops foreign objects', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  await migrateUp(pool, silent)
  await pool.query('create table copilot_internal.left_table (id int)')
  const before = await describeCatalog(pool)
  t.same(await refusal(migrateDown(pool, silent, { all: true })), ['table copilot_internal.left_table'])
  t.same(await describeCatalog(pool), before)
})

t.test('empty schemas that an administrator created in advance are used', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  await pool.query('create schema copilot_internal; create schema copilot_partitions')
  await t.resolves(migrateUp(pool, silent))
})

t.test('partitions that jobs create and drop are not foreign', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  await migrateUp(pool, silent)
  await pool.query(`
    create table copilot_partitions.llm_cost_records_2031_01 partition of copilot_internal.llm_cost_records
      for values from ('2031-01-01') to ('2031-02-01');
    create table copilot_partitions.llm_cost_records_2031_02 (like copilot_internal.llm_cost_records)`)
  await t.resolves(migrateUp(pool, silent))
  t.same((await migrationStatus(pool)).foreignObjects, [])
})

t.test('the job queue is not foreign, but other objects in its schema are', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  await migrateUp(pool, silent)
  t.same((await migrationStatus(pool)).foreignObjects, [])
  await pool.query('create table copilot_jobs.left_table (id int)')
  t.same(await refusal(migrateUp(pool, silent)), ['table copilot_jobs.left_table'])
  t.same(await refusal(migrateDown(pool, silent, { all: true })), ['table copilot_jobs.left_table'])
  t.ok(await describeCatalog(pool).then((lines) => lines.some((line) => line.includes('_private_jobs'))))
})

t.test('a role without the right to create schemas migrates into schemas created for it', async (t) => {
  const { pool, url, name } = await createEmptyDatabase(t)
  const role = `${name}_role`
  await pool.query(`
    create role ${role} login password 'sesame';
    create schema copilot_internal authorization ${role};
    create schema copilot_partitions authorization ${role};
    create schema copilot_jobs authorization ${role}`)
  t.teardown(async () => {
    const client = new pg.Client({ connectionString: process.env['TEST_DATABASE_URL'] })
    await client.connect()
    await client.query(`drop role if exists ${role}`)
    await client.end()
  })
  const own = Object.assign(new URL(url), { username: role, password: 'sesame' }).href
  await migrateUp(own, silent)
  await migrateUp(own, silent)
  await migrateDown(own, silent, { all: true })
  t.same(await describeCatalog(pool), [])
})
