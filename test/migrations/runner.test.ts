import t from 'tap'
import { migrateDown, migrateUp, migrationStatus } from '../../src/db/migrate/migrations.ts'
import { describeCatalog } from '../helpers/money/catalog.ts'
import { createEmptyDatabase } from '../helpers/database.ts'
import { makeMigrationFolder } from '../helpers/migration-folder.ts'

const silent = () => {}
const twoMigrations = {
  '0001_boxes.up.sql': 'create table copilot_internal.boxes (id int primary key)',
  '0001_boxes.down.sql': 'drop table copilot_internal.boxes',
  '0002_lids.up.sql': 'create table copilot_internal.lids (id int primary key)',
  '0002_lids.down.sql': 'drop table copilot_internal.lids',
}

t.test('a failing migration leaves the database as it was, and names its file and line', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, {
    ...twoMigrations,
    '0003_broken.up.sql': 'create table copilot_internal.half (id int);\n\nselect no_such_function()',
    '0003_broken.down.sql': 'drop table copilot_internal.half',
  })
  await t.rejects(migrateUp(pool, silent, files), {
    message: /^0003_broken\.up\.sql, line 3: function no_such_function\(\) does not exist/,
  })
  t.same(await describeCatalog(pool), [], 'not even the schemas remain')

  files.write('0003_broken.up.sql', 'create table copilot_internal.half (id int)')
  await migrateUp(pool, silent, files)
  t.ok((await migrationStatus(pool, files)).migrations.every(({ appliedAt }) => appliedAt))
})

t.test('a failing upgrade leaves the earlier release as it was', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, twoMigrations)
  await migrateUp(pool, silent, files)
  const before = await describeCatalog(pool)
  files.write('0003_more.up.sql', 'alter table copilot_internal.boxes add column size int')
  files.write('0003_more.down.sql', 'alter table copilot_internal.boxes drop column size')
  files.write(
    'functions/broken.sql',
    `create or replace function copilot_internal.broken() returns int language plpgsql as $$ begin retrun 1; end $$`,
  )
  await t.rejects(migrateUp(pool, silent, files), { message: /copilot_internal\.broken\(\)/ })
  t.same(await describeCatalog(pool), before)
})

t.test('a failing down leaves the database as it was', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, {
    ...twoMigrations,
    '0001_boxes.down.sql': 'drop table copilot_internal.crates',
  })
  await migrateUp(pool, silent, files)
  const before = await describeCatalog(pool)
  await t.rejects(migrateDown(pool, silent, { all: true }, files), {
    message: '0001_boxes.down.sql: table "crates" does not exist',
  })
  t.same(await describeCatalog(pool), before)
})

t.test('a full down that would leave an object behind is refused and changes nothing', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, { ...twoMigrations, '0001_boxes.down.sql': 'select' })
  await migrateUp(pool, silent, files)
  const before = await describeCatalog(pool)
  await t.rejects(migrateDown(pool, silent, { all: true }, files), {
    message: /left behind: table copilot_internal\.boxes/,
  })
  t.same(await describeCatalog(pool), before)
})

t.test('down goes back one step, several, to a name, or all the way', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, {
    ...twoMigrations,
    '0003_hinges.up.sql': 'create table copilot_internal.hinges (id int)',
    '0003_hinges.down.sql': 'drop table copilot_internal.hinges',
  })
  const applied = async () =>
    (await migrationStatus(pool, files)).migrations.filter(({ appliedAt }) => appliedAt).map(({ name }) => name)
  await migrateUp(pool, silent, files)
  await migrateDown(pool, silent, { steps: 1 }, files)
  t.same(await applied(), ['0001_boxes', '0002_lids'])
  await migrateUp(pool, silent, files)
  await migrateDown(pool, silent, { to: '0001_boxes' }, files)
  t.same(await applied(), ['0001_boxes'])
  await t.rejects(migrateDown(pool, silent, { to: '0002_lids' }, files), {
    message: 'The migration 0002_lids is not applied',
  })
  await migrateUp(pool, silent, files)
  await migrateDown(pool, silent, { steps: 2 }, files)
  t.same(await applied(), ['0001_boxes'])
  await migrateDown(pool, silent, { all: true }, files)
  t.same(await describeCatalog(pool), [])
  await t.resolves(migrateDown(pool, silent, { all: true }, files), 'down on an empty database does nothing')
})

t.test('when many migrate at once, one applies the migrations and the others find them applied', async (t) => {
  const { url } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, twoMigrations)
  const runs = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const lines: string[] = []
      await migrateUp(url, (line) => lines.push(line), files)
      return lines.length === 1 && lines[0] === 'nothing to do' ? 'found it done' : 'worked'
    }),
  )
  t.equal(runs.filter((run) => run === 'worked').length, 1)
})

t.test('an earlier release refuses the database of a later release', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const files = makeMigrationFolder(t, twoMigrations)
  await migrateUp(pool, silent, files)
  files.remove('0002_lids.up.sql')
  files.remove('0002_lids.down.sql')
  await t.rejects(migrateUp(pool, silent, files), { message: /unknown here: 0002_lids/ })
  await t.rejects(migrateDown(pool, silent, { all: true }, files), { message: /unknown here: 0002_lids/ })
})

t.test('files that break the rules are refused before anything runs', async (t) => {
  const { pool } = await createEmptyDatabase(t)
  const refused = async (files: Record<string, string>, message: RegExp) => {
    await t.rejects(migrateUp(pool, silent, makeMigrationFolder(t, { ...twoMigrations, ...files })), { message })
  }
  await refused({ '3_short.up.sql': 'select' }, /3_short\.up\.sql is not named NNNN_name/)
  await refused({ '0003_no_down.up.sql': 'select' }, /0003_no_down\.down\.sql is missing/)
  await refused({ '0002_twice.up.sql': 'select', '0002_twice.down.sql': 'select' }, /have the same number/)
  await refused(
    { '0003_own.up.sql': 'begin;\nselect;\ncommit;', '0003_own.down.sql': 'select' },
    /0003_own\.up\.sql contains "begin;"/,
  )
  await refused(
    { 'functions/other.sql': 'create or replace function copilot_internal.f() returns int return 1' },
    /other\.sql must create one function/,
  )
  await refused(
    { 'functions/f.sql': 'create function copilot_internal.f() returns int return 1' },
    /f\.sql must say "create or replace"/,
  )
  t.same(await describeCatalog(pool), [])
})
