import t from 'tap'
import type pg from 'pg'
import { migrateDown, migrateUp, migrationStatus } from '../../src/db/migrate/migrations.ts'
import { createEmptyDatabase } from '../helpers/database.ts'
import { makeMigrationFolder } from '../helpers/migration-folder.ts'

const silent = () => {}
const oneMigration = {
  '0001_boxes.up.sql': `
    create function copilot_internal.clock() returns timestamptz language sql as 'select clock_timestamp()';
    create table copilot_internal.boxes (id int primary key, made_at timestamptz default copilot_internal.clock());`,
  '0001_boxes.down.sql': `
    drop table copilot_internal.boxes;
    drop function copilot_internal.clock();`,
}
const returning = (name: string, expression: string) =>
  `create or replace function copilot_internal.${name}() returns text language sql as $$ select ${expression} $$`

async function call(pool: pg.Pool, name: string): Promise<unknown> {
  const { rows } = await pool.query<{ answer: unknown }>(`select copilot_internal.${name}() as answer`)
  return rows[0]?.answer
}

async function listFunctions(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select proname as name from pg_proc where pronamespace = 'copilot_internal'::regnamespace order by 1`,
  )
  return rows.map((row) => row.name)
}

t.test('a changed function is applied again; unchanged ones are not touched', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, { ...oneMigration, 'functions/greet.sql': returning('greet', `'hello'`) })
  await migrateUp(pool, silent, files)
  t.equal(await call(pool, 'greet'), 'hello')

  await pool.query(returning('greet', `'by hand'`))
  await migrateUp(pool, silent, files)
  t.equal(await call(pool, 'greet'), 'by hand', 'no file changed, so nothing was applied')

  files.write('functions/greet.sql', returning('greet', `'good day'`))
  t.same((await migrationStatus(pool, files)).changedFunctionFiles, ['greet.sql'])
  await migrateUp(pool, silent, files)
  t.equal(await call(pool, 'greet'), 'good day')
  t.same((await migrationStatus(pool, files)).changedFunctionFiles, [])
})

t.test('a function file may move to another folder, and two files of one name are refused', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, { ...oneMigration, 'functions/greet.sql': returning('greet', `'hello'`) })
  await migrateUp(pool, silent, files)
  files.remove('functions/greet.sql')
  files.write('functions/people/greet.sql', returning('greet', `'hello'`))
  t.same((await migrationStatus(pool, files)).changedFunctionFiles, [], 'a file that only moved has not changed')

  files.write('functions/dogs/greet.sql', returning('greet', `'woof'`))
  await t.rejects(migrateUp(pool, silent, files), { message: /greet\.sql have the same name/ })
})

t.test('functions may call one another in any order', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, {
    ...oneMigration,
    'functions/a_caller.sql': returning('a_caller', 'copilot_internal.z_called()'),
    'functions/z_called.sql': returning('z_called', `'answer'`),
  })
  await migrateUp(pool, silent, files)
  t.equal(await call(pool, 'a_caller'), 'answer')
})

t.test('a body that calls a missing function or does not parse is refused at once', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, {
    ...oneMigration,
    'functions/lost.sql': returning('lost', 'copilot_internal.nowhere()'),
  })
  await t.rejects(migrateUp(pool, silent, files), {
    message: /body of copilot_internal\.lost\(\) is not valid: .*nowhere/,
  })
  files.write(
    'functions/lost.sql',
    `create or replace function copilot_internal.lost() returns int language plpgsql as $$ begin retrun 1; end $$`,
  )
  await t.rejects(migrateUp(pool, silent, files), {
    message: /body of copilot_internal\.lost\(\) is not valid: .*syntax error/,
  })
})

t.test('a function is dropped if its file was deleted or its arguments changed', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, {
    ...oneMigration,
    'functions/gone.sql': returning('gone', `'x'`),
    'functions/grown.sql': returning('grown', `'x'`),
  })
  await migrateUp(pool, silent, files)
  files.remove('functions/gone.sql')
  files.write(
    'functions/grown.sql',
    `create or replace function copilot_internal.grown(p_more int) returns text language sql as $$ select p_more::text $$`,
  )
  await migrateUp(pool, silent, files)
  t.same(await listFunctions(pool), ['clock', 'grown'])
  t.same((await migrationStatus(pool, files)).foreignObjects, [])
})

t.test('down drops the functions of this release, and keeps those of the migrations that stay applied', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, {
    ...oneMigration,
    '0002_lids.up.sql': 'create table copilot_internal.lids (id int)',
    '0002_lids.down.sql': 'drop table copilot_internal.lids',
    'functions/clock.sql': `create or replace function copilot_internal.clock() returns timestamptz language sql as 'select now()'`,
    // Postgres tracks these dependencies between functions; they go in both directions of the alphabet.
    'functions/a.sql': `create or replace function copilot_internal.a() returns bigint language sql as 'select count(*) from copilot_internal.lids'`,
    'functions/b.sql': `create or replace function copilot_internal.b() returns bigint begin atomic select copilot_internal.a(); end`,
    'functions/c.sql': `create or replace function copilot_internal.c() returns bigint begin atomic select copilot_internal.b(); end`,
  })
  await migrateUp(pool, silent, files)
  await migrateDown(pool, silent, { steps: 1 }, files)
  t.same(await listFunctions(pool), ['clock'])
  t.same((await migrationStatus(pool, files)).foreignObjects, [])
  await migrateUp(pool, silent, files)
  t.same(await listFunctions(pool), ['a', 'b', 'c', 'clock'])
})

t.test('a function that a view depends on stays until its migration goes down', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, { ...oneMigration, 'functions/greet.sql': returning('greet', `'hello'`) })
  await migrateUp(pool, silent, files)
  files.write(
    '0002_view.up.sql',
    'create view copilot_internal.greetings as select copilot_internal.greet() as greeting',
  )
  files.write(
    '0002_view.down.sql',
    'drop view copilot_internal.greetings; drop function if exists copilot_internal.greet()',
  )
  await migrateUp(pool, silent, files)
  await migrateDown(pool, silent, { steps: 1 }, files)
  t.same(await listFunctions(pool), ['clock'])
  await migrateUp(
    pool,
    silent,
    makeMigrationFolder(t, { ...oneMigration, 'functions/greet.sql': returning('greet', `'again'`) }),
  )
  t.equal(await call(pool, 'greet'), 'again', 'the earlier release applied its own body')
})
