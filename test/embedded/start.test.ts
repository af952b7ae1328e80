import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts'
import { describeProcess } from '../../src/embedded/process-table.ts'
import { makeDataDir, queryOnce } from '../helpers/servers/embedded.ts'

t.test('a restart keeps what was committed', async (t) => {
  const dataDir = makeDataDir(t)
  const first = await startEmbeddedPostgres({ dataDir })
  await queryOnce(first.databaseUrl, `create table kept as select 'yes' as answer`)
  await first.stop()
  const second = await startEmbeddedPostgres({ dataDir })
  t.teardown(() => second.stop())
  t.same(await queryOnce(second.databaseUrl, 'select answer from kept'), { answer: 'yes' })
})

t.test('a commit is on disk before it is answered, and text is UTF-8', async (t) => {
  const postgres = await startEmbeddedPostgres({ dataDir: makeDataDir(t) })
  t.teardown(() => postgres.stop())
  const settings = `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit,
    current_setting('full_page_writes') as full_page_writes, current_setting('server_encoding') as encoding,
    current_database() as database, upper('é') as upper`
  t.same(await queryOnce(postgres.databaseUrl, settings), {
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    encoding: 'UTF8',
    database: 'purser',
    upper: 'É',
  })
})

t.test('the server requires the password, and only the owner can read the password', async (t) => {
  const dataDir = makeDataDir(t)
  const postgres = await startEmbeddedPostgres({ dataDir })
  t.teardown(() => postgres.stop())
  const url = new URL(postgres.databaseUrl)
  t.equal(url.hostname, '127.0.0.1')
  url.password = 'guess'
  await t.rejects(queryOnce(url.href, 'select 1'), { code: '28P01' })
  t.equal(statSync(join(dataDir, 'password')).mode & 0o777, 0o600)
  t.same(
    await queryOnce(
      postgres.databaseUrl,
      `select count(*)::int as trusted from pg_hba_file_rules where auth_method <> 'scram-sha-256'`,
    ),
    { trusted: 0 },
  )
})

t.test('a setting of the caller replaces the default', async (t) => {
  const postgres = await startEmbeddedPostgres({ dataDir: makeDataDir(t), settings: { work_mem: '7MB' } })
  t.teardown(() => postgres.stop())
  t.same(await queryOnce(postgres.databaseUrl, 'show work_mem'), { work_mem: '7MB' })
})

t.test('stop leaves no process and no lock on the folder', async (t) => {
  const dataDir = makeDataDir(t)
  const postgres = await startEmbeddedPostgres({ dataDir })
  t.ok(describeProcess(postgres.pid))
  await postgres.stop()
  t.equal(describeProcess(postgres.pid), undefined)
  t.notOk(existsSync(join(dataDir, 'owner.json')))
  await t.resolves(postgres.stop(), 'a second stop does nothing')
})

t.test('a second owner is refused while the first one lives, and the first one goes on', async (t) => {
  const dataDir = makeDataDir(t)
  const postgres = await startEmbeddedPostgres({ dataDir })
  t.teardown(() => postgres.stop())
  await t.rejects(startEmbeddedPostgres({ dataDir }), { message: `in use by the running process ${process.pid}` })
  t.same(await queryOnce(postgres.databaseUrl, 'select 1 as one'), { one: 1 })
})

t.test('a server that cannot start reports its output and unlocks the folder', async (t) => {
  const dataDir = makeDataDir(t)
  await t.rejects(startEmbeddedPostgres({ dataDir, settings: { work_mem: 'plenty' } }), {
    message: /invalid value for parameter "work_mem"/,
  })
  const postgres = await startEmbeddedPostgres({ dataDir })
  await postgres.stop()
})
