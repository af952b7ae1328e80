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

Measures this checkout beside another one, with its node_modules: a service process of each on a Postgres of its own that flushes to
disk, with a load on both at the same time, so that whatever the machine does meanwhile meets both alike. Two processes of one checkout
are apart by some hundredths, so several pairs are started, each first in turn: take an even number. All run with the flags of this checkout's npm start.
What is printed is this one's share of the other's rate and processor time: the median of all rounds, and that of each pair.

Options
  --other FOLDER     the other checkout: git worktree add FOLDER REVISION, then npm ci there
  --pairs N          pairs of processes (default 4)
  --rounds N         rounds of each load and pair (default 6)
  --seconds N        seconds of each round (default 3)
  --connections N    connections to each (default 64)
  --help             this text

It needs wrk: one on the PATH, or the package of Debian, which it unpacks into .cache/.
`

const { values } = parseArgs({
  options: {
    other: { type: 'string' },
    pairs: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '3' },
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

/** A service process, with the process id of its Postgres. */
type Candidate = { service: Running; postgresPid: number }
type Measured = { perSecond: number; nodeMicros: number; postgresMicros: number }
type Round = { load: LoadName; pair: number; here: Measured; there: Measured }

const { other } = values
if (values.help) process.stdout.write(help)
else if (other === undefined) {
  say('--other is missing: the folder of the checkout to compare with. --help tells more.')
  process.exitCode = 2
} else {
  const rounds: Round[] = []
  for (let pair = 1; pair <= Number(values.pairs); pair += 1) {
    say(`pair ${pair} of ${values.pairs}`)
    await onStage(async (stack) => {
      rounds.push(...(await measurePair(stack, pair, other)))
    })
  }
  report(rounds)
}

async function measurePair(stack: AsyncDisposableStack, pair: number, other: string): Promise<Round[]> {
  // Of two of one checkout, the one that is started first is slower by some hundredths.
  const order = pair % 2 === 1 ? [undefined, other] : [other, undefined]
  const candidates = [await start(stack, order[0]), await start(stack, order[1])]
  const both = (load: LoadName, run: string, seconds: number) =>
    Promise.all(candidates.map((candidate) => measure(candidate, load, run, seconds)))
  const rounds: Round[] = []
  for (const load of Object.keys(LOADS) as LoadName[]) {
    say(`warming up ${load}`)
    // Every user has its balances then, and the code is compiled.
    await both(load, `${load}-warm`, 4 * Number(values.seconds))
    for (let round = 1; round <= Number(values.rounds); round += 1) {
      say(`${load}, round ${round} of ${values.rounds}`)
      const measured = await both(load, `${load}-${round}`, Number(values.seconds))
      rounds.push({ load, pair, here: measured[order.indexOf(undefined)]!, there: measured[order.indexOf(other)]! })
    }
  }
  return rounds
}

async function start(stack: AsyncDisposableStack, folder: string | undefined): Promise<Candidate> {
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
  return { service, postgresPid: postgres.pid }
}

async function measure(
  { service, postgresPid }: Candidate,
  load: LoadName,
  run: string,
  seconds: number,
): Promise<Measured> {
  const [node, postgres] = [cpuSeconds(service.pid), cpuSeconds(postgresPid)]
  const { requests, requestsPerSecond, failed } = await sendLoad({
    ...LOADS[load],
    url: service.url,
    connections: Number(values.connections),
    seconds,
    key: KEY,
    run,
  })
  if (failed > 0) say(`${failed} of ${requests} failed`)
  const micros = (secondsBefore: number, secondsNow: number) => ((secondsNow - secondsBefore) / requests) * 1e6
  return {
    perSecond: requestsPerSecond,
    nodeMicros: micros(node, cpuSeconds(service.pid)),
    postgresMicros: micros(postgres, cpuSeconds(postgresPid)),
  }
}

function report(rounds: Round[]): void {
  console.log(
    `\n${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}; ${values.connections} connections to each of two at once`,
  )
  for (const load of Object.keys(LOADS)) {
    const measured = rounds.filter((round) => round.load === load)
    const share = (key: keyof Measured, some = measured) =>
      median(some.map(({ here, there }) => here[key] / there[key])).toFixed(2)
    const pairs = [...new Set(measured.map(({ pair }) => pair))].map((pair) =>
      share(
        'perSecond',
        measured.filter((round) => round.pair === pair),
      ),
    )
    console.log(
      `${load}: ${share('perSecond')} of the other's rate (pairs ${pairs.join(', ')}), ` +
        `${share('nodeMicros')} of its Node, ${share('postgresMicros')} of its Postgres`,
    )
  }
}
