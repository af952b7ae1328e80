import { cpus, totalmem } from 'node:os'
import type { Answers } from './load.ts'
import { median } from './stage.ts'

/** One round: what was answered, and the processor time of a request in the measured process and in Postgres. */
type Round = Answers & { nodeMicros: number; postgresMicros: number }
export type Measured = { name: string; connections: number; rounds: Round[] }

export type Report = {
  postgres: string
  measured: Measured[]
  memory: { reservations: number; serviceMib: number; postgresMib: number }
  starts: { emptyMs: number; givenMs: number }
  brokenInvariants: number
}

/** What is aimed at, as a share of another load's throughput in the same round; a pair counts once. */
const GOALS: Record<string, { of: string; atLeast: number; perRequest?: number }> = {
  reserve: { of: 'bare', atLeast: 0.5 },
  hot: { of: 'reserve', atLeast: 0.9 },
  pairs: { of: 'bare', atLeast: 0.22, perRequest: 0.5 },
  refused: { of: 'bare', atLeast: 0.6 },
  mix: { of: 'bare', atLeast: 0 },
  'one-by-one': { of: 'reserve', atLeast: 0 },
}

export function reportJson(report: Report): string {
  return `${JSON.stringify({ machine: machineOf(report), ...report, ratios: ratiosOf(report) }, null, 2)}\n`
}

export function reportText(report: Report): string {
  const machine = machineOf(report)
  const ratios = ratiosOf(report)
  const lines = [
    '',
    `${machine.cores} x ${machine.processor}, ${machine.memoryGib} GiB, Node ${machine.node}, Postgres ${machine.postgres}; medians of ${report.measured[0]!.rounds.length} rounds`,
  ]
  for (const connections of new Set(report.measured.map((one) => one.connections))) {
    lines.push(
      '',
      columns(`${connections} connections`, [
        'requests/s',
        'p50 ms',
        'p99 ms',
        'p99.9 ms',
        'failed',
        'Node us',
        'Postgres us',
      ]),
    )
    for (const { name, rounds } of report.measured.filter((one) => one.connections === connections)) {
      const figure = (key: keyof Round, digits: number) => median(rounds.map((round) => round[key])).toFixed(digits)
      lines.push(
        columns(name, [
          figure('requestsPerSecond', 0),
          figure('p50Ms', 2),
          figure('p99Ms', 2),
          figure('p999Ms', 2),
          String(rounds.reduce((sum, { failed }) => sum + failed, 0)),
          figure('nodeMicros', 0),
          figure('postgresMicros', 0),
        ]),
      )
    }
    const half = report.measured.find((one) => one.connections === connections && one.name === 'half')
    if (half !== undefined) {
      const goal = connections === 64 ? ' (aimed at: 15)' : connections === 16 ? ' (aimed at: 5)' : ''
      lines.push(`p99 half loaded: ${median(half.rounds.map(({ p99Ms }) => p99Ms)).toFixed(1)} ms${goal}`)
    }
    for (const ratio of ratios.filter((one) => one.connections === connections)) {
      const goal = ratio.goal > 0 ? ` (aimed at: ${ratio.goal})` : ''
      lines.push(`${ratio.name} of ${ratio.of}: ${ratio.ratio.toFixed(3)}${goal}`)
    }
  }
  const { memory, starts } = report
  lines.push(
    '',
    `memory after ${memory.reservations} reservations: service ${memory.serviceMib.toFixed(0)} MiB resident, Postgres ${memory.postgresMib.toFixed(0)} MiB`,
    `start until it listens: ${starts.emptyMs.toFixed(0)} ms on an empty folder, ${starts.givenMs.toFixed(0)} ms with a given database`,
    `broken invariants after the run: ${report.brokenInvariants}`,
    '',
  )
  return lines.join('\n')
}

function machineOf({ postgres }: Report) {
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    postgres,
  }
}

/** Medians over the rounds of the ratios within each round: what slows the machine for a while slows both of a pair. */
function ratiosOf({ measured }: Report) {
  return measured.flatMap(({ name, connections, rounds }) => {
    const goal = GOALS[name]
    const yardstick = measured.find((one) => one.name === goal?.of && one.connections === connections)
    if (goal === undefined || yardstick === undefined) return []
    const shares = rounds.map(
      ({ requestsPerSecond }, n) =>
        (requestsPerSecond * (goal.perRequest ?? 1)) / yardstick.rounds[n]!.requestsPerSecond,
    )
    return [{ name, of: goal.of, connections, ratio: median(shares), goal: goal.atLeast }]
  })
}

function columns(name: string, values: string[]): string {
  return name.padEnd(18) + values.map((value) => value.padStart(12)).join('')
}
