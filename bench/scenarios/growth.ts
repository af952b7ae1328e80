import type pg from 'pg'
import { migrateDown, migrateUp } from '../../src/db/migrate/migrations.ts'
import { countBrokenInvariants, prepareDatabase, startPostgres } from '../database.ts'
import { median, row, timed } from '../figures.ts'
import { fillDatabase } from '../fill.ts'
import { NEEDS_WRK, sendLoad } from '../load.ts'
import { startService } from '../processes.ts'
import { defineScenario } from '../scenario.ts'
import { say } from '../stage.ts'

const LOADS = ['reserve', 'hot', 'pairs'] as const
const CONNECTIONS = 64
/** Before the first round, so that both processes have compiled their code. */
const WARM_SECONDS = 6

type Side = { url: string; pool: pg.Pool }
type Rates = { load: string; empty: number[]; full: number[] }

export const scenario = defineScenario({
  help: `Whether a full database is as fast as an empty one. Two databases are on one Postgres that flushes to disk, with a service on
each. Both get the same loads in turn, over the same 1,000 tenants. Shown is the rate of the full one as a share of the other's.
Then the migrations run down and up over the full one. The defaults take about half an hour and 20 GB.
${NEEDS_WRK}`,
  options: {
    quotas: [1_000_000, 'more tenants, each with a default quota'],
    settled: [10_000_000, 'settled reservations'],
    records: [10_000_000, 'cost records, rolled up'],
    holds: [100_000, 'open holds'],
    rounds: [5, 'rounds of each load'],
    seconds: [4, 'seconds of each load'],
  },
  async run(stack, options) {
    const { databaseUrl } = await startPostgres(stack, { shared_buffers: '2GB', max_wal_size: '8GB' })
    const full = { url: databaseUrl, pool: await prepareDatabase(stack, databaseUrl) }
    await full.pool.query('create database beginning')
    const beginning = new URL(databaseUrl)
    beginning.pathname = '/beginning'
    const empty = { url: beginning.href, pool: await prepareDatabase(stack, beginning.href) }
    const fullSize = await fillDatabase(full.url, full.pool, options)
    say(`the full database has ${fullSize}`)
    const rates = await measure(stack, empty, full, options)
    const brokenInvariants = {
      empty: await countBrokenInvariants(empty.pool),
      full: await countBrokenInvariants(full.pool),
    }
    return { fullSize, rates, brokenInvariants, migrationSeconds: await migrate(full.url) }
  },
  print: ({ fullSize, rates, brokenInvariants, migrationSeconds }) => [
    `the full database has ${fullSize}`,
    `${row('load', ['empty/s', 'full/s', 'share'])}   of each round`,
    ...rates.map(describe),
    `broken invariants: ${brokenInvariants.empty} in the empty one, ${brokenInvariants.full} in the full one`,
    ...Object.entries(migrationSeconds).map(([step, seconds]) => `${step}: ${seconds.toFixed(1)} s`),
  ],
})

function describe({ load, empty, full }: Rates): string {
  const shares = full.map((rate, n) => rate / empty[n]!)
  const figures = [median(empty).toFixed(0), median(full).toFixed(0), median(shares).toFixed(2)]
  return `${row(load, figures)}   ${shares.map((share) => share.toFixed(2)).join(', ')}`
}

async function measure(
  stack: AsyncDisposableStack,
  empty: Side,
  full: Side,
  options: { rounds: number; seconds: number },
): Promise<Rates[]> {
  await using own = stack.use(new AsyncDisposableStack())
  const urls = {
    empty: (await startService(own, { DATABASE_URL: empty.url })).url,
    full: (await startService(own, { DATABASE_URL: full.url })).url,
  }
  const all: Rates[] = []
  for (const load of LOADS) {
    const rates: Rates = { load, empty: [], full: [] }
    for (let round = 0; round <= options.rounds; round += 1) {
      say(`${load}, ${round === 0 ? 'warming up' : `round ${round} of ${options.rounds}`}`)
      // The two take turns at being first.
      for (const side of round % 2 === 0 ? (['empty', 'full'] as const) : (['full', 'empty'] as const)) {
        const seconds = round === 0 ? WARM_SECONDS : options.seconds
        const answers = await sendLoad(urls[side], { load, connections: CONNECTIONS, seconds })
        if (answers.failed > 0) say(`${answers.failed} requests failed`)
        if (round > 0) rates[side].push(answers.requestsPerSecond)
      }
    }
    say(describe(rates))
    all.push(rates)
  }
  return all
}

/** Seconds of the newest migration down and up again, and of all of them, with the data that each drops. */
async function migrate(url: string): Promise<Record<string, number>> {
  const steps: [string, () => Promise<unknown>][] = [
    ['the newest migration down', () => migrateDown(url, () => {}, { steps: 1 })],
    ['the newest migration up', () => migrateUp(url, () => {})],
    ['all migrations down', () => migrateDown(url, () => {}, { all: true })],
    ['all migrations up', () => migrateUp(url, () => {})],
  ]
  const seconds: Record<string, number> = {}
  for (const [name, run] of steps) {
    say(name)
    seconds[name] = (await timed(run)) / 1_000
  }
  return seconds
}
