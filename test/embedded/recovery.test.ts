import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts'
import { describeProcess } from '../../src/embedded/process-table.ts'
import { makeDataDir, queryOnce } from '../helpers/servers/embedded.ts'

interface Owner {
  process: ChildProcess
  lines: Interface
  databaseUrl: string
  pid: number
}

/** Starts another process, in its own process group, that owns the folder. */
async function startOwner(dataDir: string): Promise<Owner> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.resolve('./owner.ts')), dataDir], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })
  const [line] = (await once(lines, 'line')) as [string]
  return { process: child, lines, ...(JSON.parse(line) as { databaseUrl: string; pid: number }) }
}

t.test('after kill -9 of its owner, the next start takes over with everything that was committed', async (t) => {
  const dataDir = makeDataDir(t)
  const owner = await startOwner(dataDir)
  await queryOnce(owner.databaseUrl, `create table kept as select 'yes' as answer`)
  owner.process.kill('SIGKILL')
  await once(owner.process, 'exit')
  t.ok(describeProcess(owner.pid), 'the server outlived its owner')

  const postgres = await startEmbeddedPostgres({ dataDir })
  t.teardown(() => postgres.stop())
  t.equal(describeProcess(owner.pid), undefined, 'the old server has ended')
  t.same(await queryOnce(postgres.databaseUrl, 'select answer from kept'), { answer: 'yes' })
})

t.test('the folder of a live process is refused, and its server is left alone', async (t) => {
  const dataDir = makeDataDir(t)
  const owner = await startOwner(dataDir)
  await t.rejects(startEmbeddedPostgres({ dataDir }), { message: `in use by the running process ${owner.process.pid}` })
  t.same(await queryOnce(owner.databaseUrl, 'select 1 as one'), { one: 1 })
  owner.process.kill('SIGINT')
  await once(owner.process, 'exit')
  t.equal(describeProcess(owner.pid), undefined)
})

t.test('Ctrl-C reaches the owner and not the server, which answers until the owner stops it', async (t) => {
  const owner = await startOwner(makeDataDir(t))
  const answer = once(owner.lines, 'line')
  process.kill(-owner.process.pid!, 'SIGINT')
  t.same(await answer, ['{"answer":42}'])
  t.equal(describeProcess(owner.pid), undefined)
})

t.test('a start after an interrupted first start creates the cluster from scratch', async (t) => {
  const dataDir = makeDataDir(t)
  const unfinished = join(dataDir, 'postgres.unfinished-abcdef')
  mkdirSync(unfinished)
  writeFileSync(join(unfinished, 'PG_VERSION'), '18\n')
  writeFileSync(join(dataDir, 'password'), 'of the first try')
  const postgres = await startEmbeddedPostgres({ dataDir })
  t.teardown(() => postgres.stop())
  t.same(await queryOnce(postgres.databaseUrl, 'select 1 as one'), { one: 1 })
  t.same(readdirSync(dataDir).sort(), ['owner.json', 'password', 'postgres'])
})

t.test('a start creates the database if the cluster lacks it', async (t) => {
  const dataDir = makeDataDir(t)
  const first = await startEmbeddedPostgres({ dataDir })
  const maintenance = new URL(first.databaseUrl)
  maintenance.pathname = '/postgres'
  await queryOnce(maintenance.href, 'drop database purser')
  await first.stop()
  const second = await startEmbeddedPostgres({ dataDir })
  t.teardown(() => second.stop())
  t.same(await queryOnce(second.databaseUrl, 'select current_database() as name'), { name: 'purser' })
})

t.test('a pid file that names another program neither ends it nor prevents the start', async (t) => {
  const dataDir = makeDataDir(t)
  const first = await startEmbeddedPostgres({ dataDir })
  await first.stop()
  const cluster = join(dataDir, 'postgres')
  const other = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'inherit'] })
  await once(other, 'spawn')
  writeFileSync(join(cluster, 'postmaster.pid'), `${other.pid}\n${cluster}\n`)
  const second = await startEmbeddedPostgres({ dataDir })
  t.same(await queryOnce(second.databaseUrl, 'select 1 as one'), { one: 1 })
  t.ok(describeProcess(other.pid!), 'the other program runs on')
  await second.stop()
  t.notOk(existsSync(join(cluster, 'postmaster.pid')))
  other.stdin.end()
  await once(other, 'exit')
})

t.test('the lock of a dead process is ignored, even if another process has its pid', async (t) => {
  const dataDir = makeDataDir(t)
  writeFileSync(join(dataDir, 'owner.json'), JSON.stringify({ pid: process.pid, startedAt: 'long ago' }))
  const postgres = await startEmbeddedPostgres({ dataDir })
  await postgres.stop()
})
