import { resolve } from 'node:path'
import { POSTGRES_SETTINGS, prepareDatabase, startPostgres } from '../database.ts'
import { median, row } from '../figures.ts'
import { measureLoad, NEEDS_WRK, type Measured } from '../load.ts'
import { startService, type Running } from '../processes.ts'
import { defineScenario } from '../scenario.ts'
import { say } from '../stage.ts'

const LOADS = ['reserve', 'hot', 'pairs'] as const

/** Rounds of warming up, after which every user has balances and the code is compiled. */
const WARM_ROUNDS = 4

type Side = { service: Running; postgresPid: number }
type Round = { load: (typeof LOADS)[number]; pair: number; here: Measured; there: Measured }
type Options = { pairs: number; rounds: number; seconds: number; connections: number }

export const scenario = defineScenario({
  help: `Compares this checkout with the one in FOLDER, which needs its own node_modules (git worktree add FOLDER REVISION, then npm
ci there). Each side is a service process on a Postgres of its own that flushes to disk. Both get the same load at the same
time, so that other work on the machine meets both. Even two processes of one checkout differ by some hundredths, so several
pairs of processes are measured, and the sides take turns at starting first: take an even number of pairs. Both sides run
with the flags of this checkout's npm start.
Shown are the medians of all rounds, and of each pair. A share above 1 means that this checkout has the larger figure.
${NEEDS_WRK}`,
  argument: 'FOLDER',
  options: {
    pairs: [4, 'pairs of processes'],
    rounds: [6, 'rounds of each load and pair'],
    seconds: [3, 'seconds of each round'],
    connections: [64, 'connections to each side'],
  },
  async run(stack, options, folder) {
    const rounds: Round[] = []
    for (let pair = 1; pair <= options.pairs; pair += 1) {
      say(`pair ${pair} of ${options.pairs}`)
      await using own = stack.use(new AsyncDisposableStack())
      rounds.push(...(await measurePair(own, pair, resolve(folder), options)))
    }
    return { rounds }
  },
  print({ rounds }, { connections, pairs }) {
    const heads = ['here/s', 'there/s', 'rate', 'Node', 'Postgres']
    return [
      `${connections} connections to each of two at once; rate, and processor time of a request, as shares of the other checkout's`,
      `${row('load', heads)}   rate of each pair`,
      ...LOADS.map((load) => {
        const measured = rounds.filter((round) => round.load === load)
        const rate = (side: 'here' | 'there') => median(measured.map((one) => one[side].requestsPerSecond)).toFixed(0)
        const share = (key: keyof Measured, some = measured) =>
          median(some.map(({ here, there }) => here[key] / there[key])).toFixed(2)
        const shares = [share('requestsPerSecond'), share('nodeMicros'), share('postgresMicros')]
        const ofPair = (pair: number) =>
          share(
            'requestsPerSecond',
            measured.filter((round) => round.pair === pair),
          )
        const perPair = Array.from({ length: pairs }, (_, n) => ofPair(n + 1)).join(', ')
        return `${row(load, [rate('here'), rate('there'), ...shares])}   ${perPair}`
      }),
    ]
  },
})

async function measurePair(
  stack: AsyncDisposableStack,
  pair: number,
  other: string,
  { rounds, seconds, connections }: Options,
): Promise<Round[]> {
  // The process that starts first is slower by some hundredths.
  const order = pair % 2 === 1 ? [undefined, other] : [other, undefined]
  const sides = [await start(stack, order[0]), await start(stack, order[1])]
  const measureBoth = async (load: Round['load'], forSeconds: number) => {
    const measured = await Promise.all(
      sides.map(({ service, postgresPid }) =>
        measureLoad(service, postgresPid, { load, connections, seconds: forSeconds }),
      ),
    )
    return { load, pair, here: measured[order.indexOf(undefined)]!, there: measured[order.indexOf(other)]! }
  }
  const all: Round[] = []
  for (const load of LOADS) {
    say(`${load}, warming up`)
    await measureBoth(load, WARM_ROUNDS * seconds)
    for (let round = 1; round <= rounds; round += 1) {
      say(`${load}, round ${round} of ${rounds}`)
      all.push(await measureBoth(load, seconds))
    }
  }
  return all
}

async function start(stack: AsyncDisposableStack, folder: string | undefined): Promise<Side> {
  const { databaseUrl, pid } = await startPostgres(stack, POSTGRES_SETTINGS)
  await prepareDatabase(stack, databaseUrl, folder)
  return { service: await startService(stack, { DATABASE_URL: databaseUrl }, folder), postgresPid: pid }
}
