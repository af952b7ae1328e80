// Whether a change made the hot path slower: npm run bench:beside. It prints; it never fails for a time.
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { sendLoad } from './load.ts'
import { startService, type Running } from './processes.ts'
import { KEY, makeQuotas, TENANTS, USERS_PER_TENANT } from './setup.ts'
import { median, onStage, say, startPostgres } from './stage.ts'
import { cpuSeconds } from './usage.ts'

const help = `Usage: npm run bench:beside -- --other FOLDER [options]

Measures this checkout beside another one, with its node_modules: several service processes of each, because two of the same are
apart by a tenth, each on a Postgres of its own that flushes to disk. All run with the flags of this checkout's npm start. The loads
go to all of them in turn; what is printed is this one's share of the other's rate in each round, and the processor time of a request.

Options
  --other FOLDER     the other checkout: git worktree add FOLDER REVISION, then npm ci there
  --processes N      of each (default 4)
  --rounds N         rounds of each load (default 4)
  --seconds N        seconds of each load (default 4)
  --connections N    connections (default 64)
  --help             this text

It needs wrk: one on the PATH, or the package of Debian, which it unpacks into .cache/.
`

const { values } = parseArgs({
  options: {
    other: { type: 'string' },
    processes: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '4' },
    connections: { type: 'string', default: '64' },
    help: { type: 'boolean', default: false },
  },
})

const LOADS = {
  spread: { load: 'reserve', tenants: TENANTS, usersPerTenant: USERS_PER_TENANT },
  hot: { load: 'reserve', tenants: 1, usersPerTenant: 1 },
  pairs: { load: 'pairs', tenants: TENANTS, usersPerTenant: USERS_PER_TENANT },
} as const
type LoadName = keyof typeof LOADS

const SIDES = ['this', 'other'] as const
type Side = (typeof SIDES)[number]

/** One process, with the process id of its Postgres. */
type Candidate = { side: Side; service: Running; postgresPid: number }
type Measured = {
  side: Side
  load: LoadName
  round: number
  perSecond: number
  nodeMicros: number
  postgresMicros: number
}

const { other } = values
if (values.help) process.stdout.write(help)
else if (other === undefined) {
  say('--other is missing: the folder of the checkout to compare with. --help tells more.')
  process.exitCode = 2
} else await onStage((stack) => bench(stack, other))

async function bench(stack: AsyncDisposableStack, other: string): Promise<void> {
  const candidates: Candidate[] = []
  for (let n = 1; n <= Number(values.processes); n += 1) {
    for (const side of SIDES) {
      say(`starting ${side}, ${n} of ${values.processes}`)
      candidates.push(await start(stack, side, side === 'other' ? other : undefined))
    }
  }
  for (const candidate of candidates) {
    say('warming up')
    // Longer than a round: every user has its balances then, and the code is compiled.
    for (const load of Object.keys(LOADS) as LoadName[]) await measure(candidate, load, 0, 2 * Number(values.seconds))
  }
  const measured: Measured[] = []
  for (let round = 1; round <= Number(values.rounds); round += 1) {
    say(`round ${round} of ${values.rounds}`)
    for (const load of Object.keys(LOADS) as LoadName[]) {
      // The other way round every other time, so that what the machine does meanwhile meets both sides alike.
      for (const candidate of round % 2 === 0 ? candidates.toReversed() : candidates) {
        measured.push(await measure(candidate, load, round, Number(values.seconds)))
      }
    }
  }
  report(measured)
}

async function start(stack: AsyncDisposableStack, side: Side, folder: string | undefined): Promise<Candidate> {
  const postgres = await startPostgres(stack, { shared_buffers: '512MB', max_wal_size: '4GB' })
  const environment = {
    DATABASE_URL: postgres.databaseUrl,
    PURSER_ADMIN_KEY: KEY,
    PURSER_RATE_LIMIT_DECISIONS: '100000000',
  }
  const migrating = await startService(environment, folder)
  await migrating.stop()
  const pool = new pg.Pool({ connectionString: postgres.databaseUrl, max: 1 })
  await makeQuotas(pool)
  await pool.end()
  const service = await startService(environment, folder)
  stack.defer(() => service.stop())
  return { side, service, postgresPid: postgres.pid }
}

async function measure(candidate: Candidate, load: LoadName, round: number, seconds: number): Promise<Measured> {
  const { side, service, postgresPid } = candidate
  const [node, postgres] = [cpuSeconds(service.pid), cpuSeconds(postgresPid)]
  const { requests, requestsPerSecond, failed } = await sendLoad({
    ...LOADS[load],
    url: service.url,
    connections: Number(values.connections),
    seconds,
    key: KEY,
    run: `${load}-${round}`,
  })
  if (failed > 0) say(`${failed} of ${requests} failed on ${side}`)
  const micros = (secondsBefore: number, secondsNow: number) => ((secondsNow - secondsBefore) / requests) * 1e6
  return {
    side,
    load,
    round,
    perSecond: requestsPerSecond,
    nodeMicros: micros(node, cpuSeconds(service.pid)),
    postgresMicros: micros(postgres, cpuSeconds(postgresPid)),
  }
}

function report(measured: Measured[]): void {
  console.log(
    `\n${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}; ${values.processes} processes of each, ${values.connections} connections`,
  )
  for (const load of Object.keys(LOADS)) {
    const mean = (side: Side, key: 'perSecond' | 'nodeMicros' | 'postgresMicros', round?: number) => {
      const of = measured.filter(
        (m) => m.load === load && m.side === side && (round === undefined || m.round === round),
      )
      return of.reduce((sum, one) => sum + one[key], 0) / of.length
    }
    const shares = [...new Set(measured.map(({ round }) => round))].map(
      (round) => mean('this', 'perSecond', round) / mean('other', 'perSecond', round),
    )
    console.log(
      `${load}: ${median(shares).toFixed(2)} of the other (${shares.map((one) => one.toFixed(2)).join(', ')})`,
    )
    for (const side of SIDES) {
      const micros = (key: 'nodeMicros' | 'postgresMicros') => mean(side, key).toFixed(0)
      console.log(
        `  ${side.padEnd(6)} ${mean(side, 'perSecond').toFixed(0)} requests/s, ${micros('nodeMicros')} us of Node, ${micros('postgresMicros')} us of Postgres`,
      )
    }
  }
}
