// An answered call survives a crash. An unanswered call is done completely or not at all, and after a retry exactly once.
import pg from 'pg'
import t, { type Test } from 'tap'
import { Random } from '../../demo/random.ts'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/embedded/postgres.ts'
import { createDatabase } from '../helpers/database.ts'
import { makeDataDir } from '../helpers/servers/embedded.ts'
import { printedSeed } from '../helpers/seed.ts'
import { ADMIN_KEY, spawnService, type Service } from '../helpers/servers/service.ts'
import { startTcpProxy } from '../helpers/servers/tcp-proxy.ts'
import { assertDoneOnce, makeIntentions, pursue, type Intention } from './intentions.ts'

const random = new Random(printedSeed(t))
const CLIENTS = 16
const never = () => false
const always = () => true

/** A service that the test kills; stopped at the latest when `t` is done. */
async function start(t: Test, databaseUrl: string): Promise<Service> {
  const service = await spawnService({ DATABASE_URL: databaseUrl, PURSER_ADMIN_KEY: ADMIN_KEY })
  t.teardown(() => service.stop('SIGKILL'))
  return service
}

t.test('after kill -9 of the service under load, retries do everything exactly once', async (t) => {
  const database = await createDatabase(t)
  const all: Intention[] = []
  for (let round = 0; round < 2; round++) {
    const service = await start(t, database.url)
    all.push(...makeIntentions(random, `random-${round}`, 400))
    let left = random.whole(1, 300)
    let killed: Promise<unknown> | undefined
    const onAnswer = () => {
      left -= 1
      if (left === 0) killed = service.stop('SIGKILL')
    }
    await pursue(all, { url: service.url, clients: CLIENTS, onAnswer, again: never })
    t.equal(await killed, 'SIGKILL')
    t.ok(
      all.some(({ done }) => !done),
      'some calls were interrupted',
    )
  }
  const service = await start(t, database.url)
  await pursue(all, { url: service.url, clients: CLIENTS, again: always })
  await assertDoneOnce(t, database.pool, all)
})

/** Each kind of call, and the condition that is true in Postgres once a call of its tenant is committed. */
const BETWEEN: { plan: Intention['plan']; sql: string; status: string }[] = [
  { plan: 'keep', sql: 'reserve_spend(', status: 'reserved' },
  { plan: 'commit', sql: 'commit_spend(', status: 'committed' },
  { plan: 'release', sql: 'release_spend(', status: 'released' },
]

t.test('after kill -9 between the commit of a call and its answer, the retry finds what was done', async (t) => {
  const database = await createDatabase(t)
  const proxy = await startTcpProxy(t, Number(new URL(database.url).port))
  const all: Intention[] = []
  let service = await start(t, proxy.through(database.url))
  for (const { plan, sql, status } of BETWEEN) {
    const intentions = makeIntentions(random, plan, 24).map((one) => ({ ...one, plan }))
    all.push(...intentions)
    proxy.keepBackAnswersTo(`copilot_internal.${sql}`)
    const cut = pursue(intentions, { url: service.url, clients: intentions.length, again: never })
    for (;;) {
      const { rows } = await database.pool.query<{ done: boolean }>(
        `select count(*) > 0 as done from copilot_internal.reservations where status = $1 and idempotency_key like $2`,
        [status, `${plan}-%`],
      )
      if (rows[0]!.done && proxy.keptBack() > 0) break
    }
    t.equal(await service.stop('SIGKILL'), 'SIGKILL')
    await cut
    t.ok(
      intentions.every(({ done }) => !done),
      `no caller of ${plan} got an answer`,
    )
    proxy.keepBackAnswersTo(null)
    service = await start(t, proxy.through(database.url))
    await pursue(intentions, { url: service.url, clients: CLIENTS, again: always })
  }
  await assertDoneOnce(t, database.pool, all)
})

t.test(
  'after kill -9 of Postgres under load callers get 503, the service recovers by itself, and everything is done exactly once',
  async (t) => {
    const dataDir = makeDataDir(t)
    let postgres: EmbeddedPostgres = await startEmbeddedPostgres({ dataDir })
    t.teardown(() => postgres.stop())
    const portOf = ({ databaseUrl }: EmbeddedPostgres) => Number(new URL(databaseUrl).port)
    const proxy = await startTcpProxy(t, portOf(postgres))
    const service = await start(t, proxy.through(postgres.databaseUrl))
    const intentions = makeIntentions(random, 'postgres', 600)
    const statuses = new Set<number>()
    const moments = [random.whole(1, 300), random.whole(301, 600)]
    let answers = 0
    let unavailable = 0
    let mending: Promise<void> | undefined
    const mend = async () => {
      process.kill(postgres.pid, 'SIGKILL')
      const before = unavailable
      await postgres.stop()
      while (unavailable === before) await fetch(`${service.url}/healthz`)
      postgres = await startEmbeddedPostgres({ dataDir })
      proxy.leadTo(portOf(postgres))
      proxy.mend()
    }
    const onAnswer = (status: number) => {
      statuses.add(status)
      if (status === 503) unavailable += 1
      else answers += 1
      if (answers === moments[0]) {
        moments.shift()
        mending = (mending ?? Promise.resolve()).then(mend)
      }
    }
    await pursue(intentions, { url: service.url, clients: CLIENTS, onAnswer, again: always })
    await mending
    t.equal(moments.length, 0, 'killed twice')
    t.same(
      [...statuses].toSorted((a, b) => a - b),
      [200, 201, 503],
      `${unavailable} times 503`,
    )
    const pool = new pg.Pool({ connectionString: postgres.databaseUrl })
    // pool.end() does not wait until its connections are closed, so one may report that Postgres is stopping.
    pool.on('error', () => {})
    await assertDoneOnce(t, pool, intentions)
    await pool.end()
  },
)
