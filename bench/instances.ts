// Many service processes on one Postgres: npm run bench:instances. It prints; it never fails for a time.
import { parseArgs } from 'node:util'
import pg from 'pg'
import { startPgBouncer } from '../test/helpers/servers/pgbouncer.ts'
import { startRedisCluster } from '../test/helpers/servers/redis-cluster.ts'
import { startRedisServer } from '../test/helpers/servers/redis-server.ts'
import { sendLoad } from './load.ts'
import { startService } from './processes.ts'
import { KEY, makeQuotas, TENANTS, USERS_PER_TENANT } from './setup.ts'
import { median, onStage, say, startPostgres } from './stage.ts'

const WAYS = ['direct', 'pgbouncer', 'redis', 'redis-cluster'] as const

const help = `Usage: npm run bench:instances -- [options]

Measures 1, 2, 4 and 10 service processes on one Postgres that flushes to disk, each with its share of the connections: the
rate of all of them beside that of one, the slowest beside the fastest, deadlocks, and broken invariants. All instances meet
on the rows of the platform, and of 1,000 tenants x 10 users. Rounds go over all counts in turn.

Options
  --counts N,…       how many instances (default 1,2,4,10; the first is what the others are compared with)
  --ways a,b         how they reach Postgres and each other: ${WAYS.join(', ')} (default direct)
  --rounds N         rounds (default 3); the medians are shown
  --seconds N        seconds of each load (default 5)
  --warm N           seconds before them, in which Node compiles what it runs often (default 15)
  --connections N    connections of all instances together (default 64)
  --decisions N      goes on with the most instances until so many decisions are made (default 0)
  --json             the figures as JSON
  --help             this text

It needs wrk, and for its ways pgbouncer and redis-server: on the PATH, or Debian's packages, which it unpacks into .cache/.
`

const { values } = parseArgs({
  options: {
    counts: { type: 'string', default: '1,2,4,10' },
    ways: { type: 'string', default: 'direct' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    warm: { type: 'string', default: '15' },
    connections: { type: 'string', default: '64' },
    decisions: { type: 'string', default: '0' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

type Way = (typeof WAYS)[number]
type Round = { perSecond: number; fairness: number; failed: number }
type Measured = { way: Way; instances: number; perSecond: number; ofOne: number; fairness: number; failed: number }
type Report = { measured: Measured[]; decisions: number; deadlocks: number; brokenInvariants: number }

/** Of one PgBouncer: fewer than ten instances ask for. */
const POOLED_CONNECTIONS = 20

if (values.help) process.stdout.write(help)
else print(await onStage(bench))

async function bench(stack: AsyncDisposableStack): Promise<Report> {
  const settings = { max_connections: '400', shared_buffers: '512MB', max_wal_size: '4GB' }
  const postgres = await startPostgres(stack, settings)
  const migrating = await startService({ DATABASE_URL: postgres.databaseUrl, PURSER_ADMIN_KEY: KEY })
  await migrating.stop()
  const pool = new pg.Pool({ connectionString: postgres.databaseUrl, max: 1 })
  stack.defer(() => pool.end())
  await makeQuotas(pool)

  const counts = values.counts.split(',').map(Number)
  const measured: Measured[] = []
  for (const way of values.ways.split(',') as Way[]) {
    if (!WAYS.includes(way)) throw new Error(`there is no way ${way}`)
    measured.push(...(await measureWay(stack, way, counts, postgres.databaseUrl)))
  }
  await goOn(stack, Math.max(...counts), postgres.databaseUrl, pool)
  say('looking for broken invariants')
  const { rows: broken } = await pool.query('select * from copilot_internal.check_integrity()')
  const { rows } = await pool.query<{ deadlocks: string }>(
    'select deadlocks from pg_stat_database where datname = current_database()',
  )
  return {
    measured,
    decisions: await countDecisions(pool),
    deadlocks: Number(rows[0]!.deadlocks),
    brokenInvariants: broken.length,
  }
}

async function measureWay(
  stack: AsyncDisposableStack,
  way: Way,
  counts: number[],
  databaseUrl: string,
): Promise<Measured[]> {
  await using own = stack.use(new AsyncDisposableStack())
  const environment = await openWay(own, way, databaseUrl)
  const rounds = new Map<number, Round[]>(counts.map((count) => [count, []]))
  for (let round = 1; round <= Number(values.rounds); round += 1) {
    for (const count of counts) {
      say(`${way}, round ${round} of ${values.rounds}: ${count} ${count === 1 ? 'instance' : 'instances'}`)
      await using running = stack.use(new AsyncDisposableStack())
      const urls = await startInstances(running, count, environment)
      await load(urls, Number(values.warm), `${way}-${round}-${count}-warm`)
      rounds.get(count)!.push(await load(urls, Number(values.seconds), `${way}-${round}-${count}`))
    }
  }
  return counts.map((instances) => {
    const turns = rounds.get(instances)!
    return {
      way,
      instances,
      perSecond: median(turns.map(({ perSecond }) => perSecond)),
      // Of the same round: what slows the machine for a while slows both.
      ofOne: median(turns.map(({ perSecond }, n) => perSecond / rounds.get(counts[0]!)![n]!.perSecond)),
      fairness: median(turns.map(({ fairness }) => fairness)),
      failed: turns.reduce((sum, { failed }) => sum + failed, 0),
    }
  })
}

/** What the instances' environment has. */
type Environment = { databaseUrl: string; redisUrl: string | null }

async function openWay(stack: AsyncDisposableStack, way: Way, databaseUrl: string): Promise<Environment> {
  if (way === 'direct') return { databaseUrl, redisUrl: null }
  if (way === 'pgbouncer') {
    const pooler = await startPgBouncer(databaseUrl, POOLED_CONNECTIONS)
    stack.defer(() => pooler.stop())
    return { databaseUrl: pooler.through(databaseUrl), redisUrl: null }
  }
  if (way === 'redis') {
    const redis = await startRedisServer()
    stack.defer(() => redis.kill())
    return { databaseUrl, redisUrl: redis.url }
  }
  const cluster = await startRedisCluster()
  stack.defer(() => cluster.stop())
  return { databaseUrl, redisUrl: cluster.url }
}

async function startInstances(
  stack: AsyncDisposableStack,
  count: number,
  { databaseUrl, redisUrl }: Environment,
): Promise<string[]> {
  const urls: string[] = []
  // One after the other: ten that start at once have the cores to themselves for a while.
  for (let n = 0; n < count; n += 1) {
    const service = await startService({
      DATABASE_URL: databaseUrl,
      PURSER_ADMIN_KEY: KEY,
      PURSER_RATE_LIMIT_DECISIONS: '100000000',
      ...(redisUrl === null ? {} : { REDIS_URL: redisUrl }),
    })
    stack.defer(() => service.stop())
    urls.push(service.url)
  }
  return urls
}

/** The same connections over all instances, however many. */
async function load(urls: string[], seconds: number, run: string): Promise<Round> {
  const share = Math.max(1, Math.floor(Number(values.connections) / urls.length))
  const answers = await Promise.all(
    urls.map((url, n) =>
      sendLoad({
        url,
        load: 'reserve',
        connections: share,
        seconds,
        key: KEY,
        tenants: TENANTS,
        usersPerTenant: USERS_PER_TENANT,
        run: `${run}-${n}-${process.pid}`,
      }),
    ),
  )
  const rates = answers.map(({ requests, failed }) => (requests - failed) / seconds)
  return {
    perSecond: rates.reduce((sum, rate) => sum + rate, 0),
    fairness: Math.min(...rates) / Math.max(...rates),
    failed: answers.reduce((sum, { failed }) => sum + failed, 0),
  }
}

async function goOn(stack: AsyncDisposableStack, count: number, databaseUrl: string, pool: pg.Pool): Promise<void> {
  const wanted = Number(values.decisions)
  let made = await countDecisions(pool)
  if (made >= wanted) return
  const urls = await startInstances(stack, count, { databaseUrl, redisUrl: null })
  for (let part = 1; made < wanted; part += 1) {
    say(`${made} of ${wanted} decisions`)
    await load(urls, 20, `more-${part}`)
    made = await countDecisions(pool)
  }
}

async function countDecisions(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ n: string }>('select count(*) as n from copilot_internal.reservations')
  return Number(rows[0]!.n)
}

function print(report: Report): void {
  if (values.json) return void process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
  const columns = (cells: string[]) => cells.map((cell, n) => (n === 0 ? cell.padEnd(14) : cell.padStart(14))).join('')
  const lines = [
    '',
    columns(['way', 'instances', 'granted/s', 'of one', 'least/most', 'failed']),
    ...report.measured.map(({ way, instances, perSecond, ofOne, fairness, failed }) =>
      columns([way, String(instances), perSecond.toFixed(0), ofOne.toFixed(2), fairness.toFixed(2), String(failed)]),
    ),
    '',
    `deadlocks in ${report.decisions} decisions: ${report.deadlocks}`,
    `broken invariants after the run: ${report.brokenInvariants}`,
    '',
  ]
  process.stdout.write(lines.join('\n'))
}
