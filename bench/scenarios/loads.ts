import { join } from 'node:path'
import type pg from 'pg'
import {
  countBrokenInvariants,
  countReservations,
  POSTGRES_SETTINGS,
  prepareDatabase,
  startPostgres,
} from '../database.ts'
import { median, row } from '../figures.ts'
import { measureLoad, NEEDS_WRK, sendLoad, type Load, type Measured } from '../load.ts'
import { proportionalMib, residentMib } from '../machine.ts'
import { KEY, startNode, startService, type Running } from '../processes.ts'
import { defineScenario, UsageError } from '../scenario.ts'
import { openFolder, say } from '../stage.ts'

/** Loads of one name and number of connections, one a round. */
type Loads = { name: string; connections: number; rounds: Measured[] }
type Ratio = { name: string; of: string; connections: number; ratio: number; goal: number }
type Setup = { pool: pg.Pool; postgresPid: number; targets: Record<'service' | 'bare' | 'oneByOne', Running> }

/** A process reaches its full speed after about so many requests of a kind, whether it is quick or slow. */
const WARM_REQUESTS = 20_000
const WARM_PARTS_MAX = 6
const FILL_SECONDS = 20

/** Which process gets which load. `half` is `reserve` with pauses. */
const LOADS: Record<string, { to: keyof Setup['targets']; load: Load['load'] }> = {
  bare: { to: 'bare', load: 'reserve' },
  reserve: { to: 'service', load: 'reserve' },
  half: { to: 'service', load: 'reserve' },
  hot: { to: 'service', load: 'hot' },
  pairs: { to: 'service', load: 'pairs' },
  refused: { to: 'service', load: 'refused' },
  mix: { to: 'service', load: 'mix' },
  'one-by-one': { to: 'oneByOne', load: 'reserve' },
}

/** The share of another load's rate that is the goal; 0: none. Two requests are one pair. */
const GOALS: Record<string, { of: string; atLeast: number; perRequest?: number }> = {
  reserve: { of: 'bare', atLeast: 0.5 },
  hot: { of: 'reserve', atLeast: 0.9 },
  pairs: { of: 'bare', atLeast: 0.22, perRequest: 0.5 },
  refused: { of: 'bare', atLeast: 0.6 },
  mix: { of: 'bare', atLeast: 0 },
  'one-by-one': { of: 'reserve', atLeast: 0 },
}

/** The highest p99 of `half`, in milliseconds, that is the goal, by connections. */
const HALF_P99_GOALS: Record<number, number> = { 16: 5, 64: 15 }

export const scenario = defineScenario({
  help: `Measures the service beside two yardsticks in one run: a bare Fastify route that validates the same body, looks up the key
and answers; and a service that makes the same decision in a transaction for each request. Postgres flushes to disk (fsync
and synchronous_commit on). Requests are authenticated, priced, counted by the rate limit and decided over four quotas, and
each has an idempotency key.

Loads: bare and one-by-one are the yardsticks. reserve: one reservation a request, for 1,000 tenants x 10 users. half: the
same at half of the rate that reserve had just before. hot: one tenant and user. pairs: reserve and commit in turn. refused:
a tenant without money. mix: also checks, extensions, releases, status and costs.
${NEEDS_WRK}`,
  options: {
    rounds: [5, 'rounds; in each, the loads take turns. Medians are shown'],
    seconds: [6, 'seconds of each load'],
    connections: [[64], 'connections; a table for each number'],
    only: [Object.keys(LOADS), 'only these loads'],
    reservations: [0, 'goes on with reserve until there are N, then measures the memory'],
  },
  async run(stack, options) {
    const unknown = options.only.filter((name) => !(name in LOADS))
    if (unknown.length > 0) throw new UsageError(`there is no load ${unknown.join(', ')}`)
    const half = options.only.indexOf('half')
    if (half !== -1 && !options.only.slice(0, half).includes('reserve')) {
      throw new UsageError('half must come after reserve, whose rate it halves')
    }
    const emptyMs = await startOnEmptyFolder(stack)
    const setup = await setUp(stack)
    const { pool, postgresPid } = setup
    const { service } = setup.targets
    const loads: Loads[] = []
    for (const connections of options.connections) loads.push(...(await measureRounds(setup, connections, options)))
    const reservations = await fill(setup, options.reservations)
    const memory = { reservations, serviceMib: residentMib(service.pid), postgresMib: proportionalMib(postgresPid) }
    say('checking the invariants')
    return {
      loads,
      ratios: ratiosOf(loads),
      memory,
      starts: { emptyMs, givenMs: service.startedMs },
      brokenInvariants: await countBrokenInvariants(pool),
    }
  },
  print: ({ loads, ratios, memory, starts, brokenInvariants }, { rounds, connections }) => [
    `medians of ${rounds} rounds`,
    ...connections.flatMap((count) =>
      printTable(
        count,
        loads.filter((one) => one.connections === count),
        ratios.filter((one) => one.connections === count),
      ),
    ),
    '',
    `memory after ${memory.reservations} reservations: service ${memory.serviceMib.toFixed(0)} MiB resident, Postgres ${memory.postgresMib.toFixed(0)} MiB`,
    `start until it listens: ${starts.emptyMs.toFixed(0)} ms on an empty folder, ${starts.givenMs.toFixed(0)} ms with a given database`,
    `broken invariants: ${brokenInvariants}`,
  ],
})

/** Milliseconds until a service listens that starts its own Postgres, migrates it and adds prices. */
async function startOnEmptyFolder(stack: AsyncDisposableStack): Promise<number> {
  say('starting on an empty folder')
  const service = await startService(stack, { PURSER_DATA_DIR: join(openFolder(stack), 'own') })
  await expectReady(service)
  await service.stop()
  return service.startedMs
}

async function setUp(stack: AsyncDisposableStack): Promise<Setup> {
  const { databaseUrl, pid } = await startPostgres(stack, POSTGRES_SETTINGS)
  const pool = await prepareDatabase(stack, databaseUrl)
  const targets = {
    service: await startService(stack, { DATABASE_URL: databaseUrl }),
    bare: await startNode(stack, ['bench/yardsticks/bare.ts'], { BENCH_KEY: KEY }),
    oneByOne: await startNode(stack, ['bench/yardsticks/one-by-one.ts'], { DATABASE_URL: databaseUrl }),
  }
  await expectReady(targets.service)
  return { pool, postgresPid: pid, targets }
}

async function expectReady({ url }: Running): Promise<void> {
  const response = await fetch(`${url}/readyz`)
  if (!response.ok) throw new Error(`the service is not ready: ${await response.text()}`)
}

/** The loads take turns, so that other work on the machine meets all of them. Before the first round all warm up. */
async function measureRounds(
  { targets, postgresPid }: Setup,
  connections: number,
  options: { only: string[]; rounds: number; seconds: number },
): Promise<Loads[]> {
  const loads: Loads[] = options.only.map((name) => ({ name, connections, rounds: [] }))
  for (const { name } of loads) {
    // It warms up with reserve.
    if (name === 'half') continue
    say(`${connections} connections, warming up: ${name}`)
    const { to, load } = LOADS[name]!
    for (let part = 0, sent = 0; part < WARM_PARTS_MAX && sent < WARM_REQUESTS; part += 1) {
      sent += (await sendLoad(targets[to].url, { load, connections, seconds: 2 })).requests
    }
  }
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const { name, rounds } of loads) {
      say(`${connections} connections, round ${round} of ${options.rounds}: ${name}`)
      const { to, load } = LOADS[name]!
      const pauseMs = name === 'half' ? pauseFor(connections, loads) : 0
      const seconds = options.seconds
      rounds.push(await measureLoad(targets[to], postgresPid, { load, connections, seconds, pauseMs }))
    }
  }
  return loads
}

/** The pause with which these connections send half of the requests that they sent in the last load `reserve`. */
function pauseFor(connections: number, loads: Loads[]): number {
  const full = loads.find(({ name }) => name === 'reserve')!.rounds.at(-1)!
  return (connections * 2_000) / full.requestsPerSecond
}

/** Goes on with `reserve` until there are as many reservations. Answers how many there are. */
async function fill({ pool, targets }: Setup, wanted: number): Promise<number> {
  let made = await countReservations(pool)
  while (made < wanted) {
    say(`${made} of ${wanted} reservations`)
    await sendLoad(targets.service.url, { load: 'reserve', connections: 64, seconds: FILL_SECONDS })
    made = await countReservations(pool)
  }
  return made
}

/** Medians of the ratios within each round: what slows the machine for a while slows both loads of a ratio. */
function ratiosOf(loads: Loads[]): Ratio[] {
  return loads.flatMap(({ name, connections, rounds }) => {
    const goal = GOALS[name]
    const yardstick = loads.find((one) => one.name === goal?.of && one.connections === connections)
    if (goal === undefined || yardstick === undefined) return []
    const { of, atLeast, perRequest = 1 } = goal
    const shares = rounds.map(
      ({ requestsPerSecond }, n) => (requestsPerSecond * perRequest) / yardstick.rounds[n]!.requestsPerSecond,
    )
    return [{ name, of, connections, ratio: median(shares), goal: atLeast }]
  })
}

function printTable(connections: number, loads: Loads[], ratios: Ratio[]): string[] {
  const half = loads.find(({ name }) => name === 'half')
  const aim = (goal: number | undefined) => (goal ? ` (goal: ${goal})` : '')
  const heads = ['requests/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'failed', 'Node us', 'Postgres us']
  return [
    '',
    row(`${connections} connections`, heads),
    ...loads.map(({ name, rounds }) => {
      const figure = (key: keyof Measured, digits: number) => median(rounds.map((one) => one[key])).toFixed(digits)
      return row(name, [
        ...[figure('requestsPerSecond', 0), figure('p50Ms', 2), figure('p99Ms', 2), figure('p999Ms', 2)],
        String(rounds.reduce((sum, { failed }) => sum + failed, 0)),
        ...[figure('nodeMicros', 0), figure('postgresMicros', 0)],
      ])
    }),
    ...(half === undefined
      ? []
      : [
          `p99 at half of the rate: ${median(half.rounds.map(({ p99Ms }) => p99Ms)).toFixed(1)} ms${aim(HALF_P99_GOALS[connections])}`,
        ]),
    ...ratios.map(({ name, of, ratio, goal }) => `${name} of ${of}: ${ratio.toFixed(3)}${aim(goal)}`),
  ]
}
