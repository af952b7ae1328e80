// The figures that anyone can repeat: npm run bench. It prints; it never fails for a time.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { startEmbeddedPostgres } from '../src/embedded/postgres.ts'
import { sendLoad, type Figures } from './load.ts'
import { startNode, startService, type Running } from './processes.ts'

const help = `Usage: npm run bench -- [options]

Measures the service beside a bare Fastify route in one run, on an embedded Postgres that flushes to disk (fsync and
synchronous_commit on), with authentication, idempotency keys, prices, rate limits and four quotas for each request.

Options
  --rounds N       rounds of each load, in turn (default 5); the medians are shown
  --seconds N      seconds of each load (default 6)
  --connections N  connections (default 64)
  --json           the figures as JSON
  --help           this text

It needs wrk: one on the PATH, or the package of Debian, which it unpacks into .cache/.
`

const KEY = 'bench-admin-key-0123456789abcdef'
const TENANTS = 1_000
const USERS_PER_TENANT = 10

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '6' },
    connections: { type: 'string', default: '64' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const closing: (() => unknown)[] = []
process.on('SIGINT', () => void close().then(() => process.exit(130)))
if (values.help) process.stdout.write(help)
else {
  try {
    await bench()
  } finally {
    await close()
  }
}

async function close(): Promise<void> {
  for (const one of closing.splice(0).toReversed()) await one()
}

async function bench(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'purser-bench-'))
  closing.push(() => rmSync(folder, { recursive: true, force: true }))
  // As root, Postgres runs as another user, who has to pass through.
  chmodSync(folder, 0o711)

  say('starting on an empty folder')
  const first = await startService({ PURSER_DATA_DIR: join(folder, 'own'), PURSER_ADMIN_KEY: KEY })
  await answers(first)
  await first.stop()

  const postgres = await startEmbeddedPostgres({
    dataDir: join(folder, 'given'),
    settings: { shared_buffers: '512MB', max_wal_size: '4GB' },
  })
  closing.push(() => postgres.stop())
  const environment = {
    DATABASE_URL: postgres.databaseUrl,
    PURSER_ADMIN_KEY: KEY,
    PURSER_RATE_LIMIT_DECISIONS: '100000000',
  }
  const migrating = await startService(environment)
  await migrating.stop()
  const pool = new pg.Pool({ connectionString: postgres.databaseUrl })
  closing.push(() => pool.end())
  say(`making four quotas for each of ${TENANTS} tenants x ${USERS_PER_TENANT} users`)
  await makeQuotas(pool)
  const service = await startService(environment)
  closing.push(() => service.stop())
  await answers(service)
  const bare = await startNode(['bench/bare.ts'], { BENCH_KEY: KEY })
  closing.push(() => bare.stop())

  const loads = {
    bare: { url: bare.url, tenants: TENANTS },
    'reserve, 1,000 tenants': { url: service.url, tenants: TENANTS },
    'reserve, one hot tenant': { url: service.url, tenants: 1, usersPerTenant: 1 },
  }
  const measured: Record<string, Figures[]> = {}
  const rounds = Number(values.rounds)
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, load] of Object.entries(loads)) {
      say(round === 0 ? `warming up: ${name}` : `round ${round} of ${rounds}: ${name}`)
      const figures = await sendLoad({
        script: 'reserve.lua',
        connections: Number(values.connections),
        seconds: round === 0 ? 2 : Number(values.seconds),
        key: KEY,
        usersPerTenant: USERS_PER_TENANT,
        run: `${round}-${name.length}-${process.pid}`,
        ...load,
      })
      if (round > 0) (measured[name] ??= []).push(figures)
    }
  }
  const { rows: broken } = await pool.query('select * from copilot_internal.check_integrity()')
  const { rows: server } = await pool.query<{ version: string }>(`select current_setting('server_version') as version`)
  report(measured, { emptyMs: first.startedMs, givenMs: service.startedMs }, broken.length, server[0]!.version)
}

/** Platform, tenant by day and by month, user by day: all wide enough never to bind. */
async function makeQuotas(pool: pg.Pool): Promise<void> {
  await pool.query(
    `select count(*) from (
       select json_agg(w) as q from (
         select 'platform' as scope, null as tenant_id, null as user_id, 'month' as period, 900000000 as limit_usd
         union all select 'tenant', 't-' || t, null, p, 900000000 from generate_series(1, $1) t, unnest(array['day', 'month']) p
         union all select 'user', 't-' || t, 'u-' || u, 'day', 900000000 from generate_series(1, $1) t, generate_series(1, $2) u
       ) w) s, copilot_internal.set_quotas(q)`,
    [TENANTS, USERS_PER_TENANT],
  )
  await pool.query('analyze')
}

async function answers(service: Running): Promise<void> {
  const response = await fetch(`${service.url}/readyz`)
  if (!response.ok) throw new Error(`the service is not ready: ${await response.text()}`)
}

function report(
  measured: Record<string, Figures[]>,
  starts: { emptyMs: number; givenMs: number },
  broken: number,
  postgres: string,
): void {
  const median = (name: string, figure: keyof Figures) => {
    const sorted = measured[name]!.map((figures) => figures[figure]).toSorted((a, b) => a - b)
    return sorted[Math.floor(sorted.length / 2)]!
  }
  const ratio = (name: string, yardstick: string) => {
    const pairs = measured[name]!.map(
      (figures, i) => figures.requestsPerSecond / measured[yardstick]![i]!.requestsPerSecond,
    )
    return pairs.toSorted((a, b) => a - b)[Math.floor(pairs.length / 2)]!
  }
  const machine = {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    postgres,
  }
  const figures = Object.keys(measured).map((name) => ({
    name,
    requestsPerSecond: Math.round(median(name, 'requestsPerSecond')),
    p50Ms: median(name, 'p50Ms'),
    p99Ms: median(name, 'p99Ms'),
    failed: measured[name]!.reduce((sum, { failed }) => sum + failed, 0),
    ofBare: Number(ratio(name, 'bare').toFixed(3)),
  }))
  const hotOfSpread = Number(ratio('reserve, one hot tenant', 'reserve, 1,000 tenants').toFixed(3))
  if (values.json) {
    console.log(
      JSON.stringify(
        { machine, connections: Number(values.connections), figures, hotOfSpread, starts, brokenInvariants: broken },
        null,
        2,
      ),
    )
    return
  }
  console.log(
    `\n${machine.cores} x ${machine.processor}, ${machine.memoryGib} GiB, Node ${machine.node}, Postgres ${postgres}; ${values.connections} connections`,
  )
  console.log(
    `${'load'.padEnd(26)}${'requests/s'.padStart(12)}${'p50 ms'.padStart(10)}${'p99 ms'.padStart(10)}${'failed'.padStart(9)}${'of bare'.padStart(10)}`,
  )
  for (const row of figures) {
    console.log(
      `${row.name.padEnd(26)}${String(row.requestsPerSecond).padStart(12)}${row.p50Ms.toFixed(2).padStart(10)}${row.p99Ms.toFixed(2).padStart(10)}${String(row.failed).padStart(9)}${row.ofBare.toFixed(2).padStart(10)}`,
    )
  }
  console.log(`one hot tenant of 1,000 tenants: ${hotOfSpread.toFixed(2)}`)
  console.log(
    `start until it listens: ${Math.round(starts.emptyMs)} ms on an empty folder, ${Math.round(starts.givenMs)} ms with a given database`,
  )
  console.log(`broken invariants after the run: ${broken}`)
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
