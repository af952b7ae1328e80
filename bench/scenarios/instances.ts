import type pg from 'pg'
import { startPgBouncer } from '../../test/helpers/servers/pgbouncer.ts'
import { startRedisCluster } from '../../test/helpers/servers/redis-cluster.ts'
import { startRedisServer } from '../../test/helpers/servers/redis-server.ts'
import {
  countBrokenInvariants,
  countReservations,
  POSTGRES_SETTINGS,
  prepareDatabase,
  startPostgres,
} from '../database.ts'
import { median, row } from '../figures.ts'
import { NEEDS_WRK, sendLoad } from '../load.ts'
import { startService } from '../processes.ts'
import { defineScenario, UsageError } from '../scenario.ts'
import { say } from '../stage.ts'

/** How instances reach Postgres and each other. Each answers settings for the instances. */
const WAYS: Record<string, (stack: AsyncDisposableStack, databaseUrl: string) => Promise<Record<string, string>>> = {
  direct: async (_stack, databaseUrl) => ({ DATABASE_URL: databaseUrl }),
  pgbouncer: async (stack, databaseUrl) => {
    const pooler = await startPgBouncer(databaseUrl, POOLED_CONNECTIONS)
    stack.defer(() => pooler.stop())
    return { DATABASE_URL: pooler.through(databaseUrl) }
  },
  redis: async (stack, databaseUrl) => {
    const redis = await startRedisServer()
    stack.defer(() => redis.kill())
    return { DATABASE_URL: databaseUrl, REDIS_URL: redis.url }
  },
  'redis-cluster': async (stack, databaseUrl) => {
    const cluster = await startRedisCluster()
    stack.defer(() => cluster.stop())
    return { DATABASE_URL: databaseUrl, REDIS_URL: cluster.url }
  },
}

/** Connections of PgBouncer to Postgres: fewer than ten instances ask for. */
const POOLED_CONNECTIONS = 20
const MORE_SECONDS = 20

type Round = { perSecond: number; fairness: number; failed: number }
type Measured = Round & { way: string; instances: number; ofFirst: number }
type Options = { counts: number[]; rounds: number; seconds: number; warm: number; connections: number }

export const scenario = defineScenario({
  help: `Measures several service processes on one Postgres that flushes to disk, each with its share of the connections: the rate of
all of them together, the slowest beside the fastest, deadlocks, and broken invariants. All instances update the rows of the
platform, and of 1,000 tenants x 10 users. In each round all counts take turns.
${NEEDS_WRK}
The ways pgbouncer, redis and redis-cluster need pgbouncer and redis-server, which are found in the same way.`,
  options: {
    counts: [[1, 2, 4, 10], 'how many instances; the others are compared with the first'],
    ways: [['direct'], `how they reach Postgres and each other: ${Object.keys(WAYS).join(', ')}`],
    rounds: [3, 'rounds; medians are shown'],
    seconds: [5, 'seconds of each load'],
    warm: [15, 'seconds of load before, in which Node compiles what runs often'],
    connections: [64, 'connections of all instances together'],
    decisions: [0, 'goes on with the most instances until there are N decisions'],
  },
  async run(stack, options) {
    const unknown = options.ways.filter((way) => !(way in WAYS))
    if (unknown.length > 0) throw new UsageError(`there is no way ${unknown.join(', ')}`)
    const { databaseUrl } = await startPostgres(stack, { ...POSTGRES_SETTINGS, max_connections: '400' })
    const pool = await prepareDatabase(stack, databaseUrl)
    const measured: Measured[] = []
    for (const way of options.ways) measured.push(...(await measureWay(stack, way, databaseUrl, options)))
    const decisions = await goOn(stack, pool, databaseUrl, options)
    say('checking the invariants')
    const brokenInvariants = await countBrokenInvariants(pool)
    const { rows } = await pool.query<{ deadlocks: number }>(
      'select deadlocks::integer from pg_stat_database where datname = current_database()',
    )
    return { measured, decisions, deadlocks: rows[0]!.deadlocks, brokenInvariants }
  },
  print: ({ measured, decisions, deadlocks, brokenInvariants }, { counts }) => [
    row('way', ['instances', 'granted/s', `share of ${counts[0]!}`, 'least/most', 'failed']),
    ...measured.map(({ way, instances, perSecond, ofFirst, fairness, failed }) =>
      row(way, [String(instances), perSecond.toFixed(0), ofFirst.toFixed(2), fairness.toFixed(2), String(failed)]),
    ),
    `deadlocks in ${decisions} decisions: ${deadlocks}`,
    `broken invariants: ${brokenInvariants}`,
  ],
})

async function measureWay(
  stack: AsyncDisposableStack,
  way: string,
  databaseUrl: string,
  { counts, rounds, seconds, warm, connections }: Options,
): Promise<Measured[]> {
  await using own = stack.use(new AsyncDisposableStack())
  const environment = await WAYS[way]!(own, databaseUrl)
  const turns = new Map<number, Round[]>(counts.map((count) => [count, []]))
  for (let round = 1; round <= rounds; round += 1) {
    for (const count of counts) {
      say(`${way}, round ${round} of ${rounds}: ${count === 1 ? '1 instance' : `${count} instances`}`)
      await using running = stack.use(new AsyncDisposableStack())
      const urls = await startInstances(running, count, environment)
      await sendToAll(urls, connections, warm)
      turns.get(count)!.push(await sendToAll(urls, connections, seconds))
    }
  }
  const first = turns.get(counts[0]!)!
  return counts.map((instances) => {
    const own = turns.get(instances)!
    return {
      way,
      instances,
      perSecond: median(own.map(({ perSecond }) => perSecond)),
      // Within each round: what slows the machine for a while slows both.
      ofFirst: median(own.map(({ perSecond }, n) => perSecond / first[n]!.perSecond)),
      fairness: median(own.map(({ fairness }) => fairness)),
      failed: own.reduce((sum, { failed }) => sum + failed, 0),
    }
  })
}

async function startInstances(stack: AsyncDisposableStack, count: number, environment: Record<string, string>) {
  const urls: string[] = []
  // One after the other: ten that start at once keep the cores busy for a while.
  for (let n = 0; n < count; n += 1) urls.push((await startService(stack, environment)).url)
  return urls
}

/** Divides the connections among all instances. */
async function sendToAll(urls: string[], connections: number, seconds: number): Promise<Round> {
  const share = Math.max(1, Math.floor(connections / urls.length))
  const answers = await Promise.all(urls.map((url) => sendLoad(url, { load: 'reserve', connections: share, seconds })))
  const rates = answers.map(({ requests, failed }) => (requests - failed) / seconds)
  return {
    perSecond: rates.reduce((sum, rate) => sum + rate, 0),
    fairness: Math.min(...rates) / Math.max(...rates),
    failed: answers.reduce((sum, { failed }) => sum + failed, 0),
  }
}

/** Goes on until there are as many decisions as wanted. Answers how many there are. */
async function goOn(
  stack: AsyncDisposableStack,
  pool: pg.Pool,
  databaseUrl: string,
  { counts, connections, decisions }: Options & { decisions: number },
): Promise<number> {
  let made = await countReservations(pool)
  if (made >= decisions) return made
  const urls = await startInstances(stack, Math.max(...counts), { DATABASE_URL: databaseUrl })
  while (made < decisions) {
    say(`${made} of ${decisions} decisions`)
    await sendToAll(urls, connections, MORE_SECONDS)
    made = await countReservations(pool)
  }
  return made
}
