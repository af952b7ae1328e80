// npm run test:long: see --help.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')

interface Part {
  name: string
  shows: string
  /** Arguments of node. */
  command: string[]
  env?: Record<string, string>
}

const tests = (seconds: number, ...args: string[]) => ['test/run.ts', '--timeout', String(seconds), ...args]

const parts: Part[] = [
  {
    name: 'model',
    shows: '500 runs of random calls agree with the model of the rules',
    command: tests(3_600, 'test/proof/model.test.ts'),
    env: { PURSER_TEST_MODEL_RUNS: '500' },
  },
  {
    name: 'history',
    shows: '17 histories of ten instances are possible',
    command: tests(3_600, 'test/proof/history.test.ts'),
    env: { PURSER_TEST_HISTORY_RUNS: '17' },
  },
  {
    name: 'locks',
    shows: '100,000 calls in every pair of the deciding functions do not deadlock',
    command: tests(7_200, 'test/sql/locks.test.ts'),
    env: { PURSER_TEST_LOCK_CALLS: '100000' },
  },
  {
    name: 'fuzz',
    shows: '200,000 random requests and 200,000 random usage objects get sound answers',
    command: tests(7_200, 'test/http/fuzz.test.ts', 'test/http/reservations/usage-fuzz.test.ts'),
    env: { PURSER_TEST_FUZZ_REQUESTS: '200000', PURSER_TEST_FUZZ_USAGES: '200000' },
  },
  {
    name: 'durable',
    shows: 'all tests pass on a Postgres that writes to disk before it answers',
    command: ['test/run.ts', '--durable'],
  },
  {
    name: 'guards',
    shows: 'the tests detect the removal of every guard of the money',
    command: ['test/proof/guards.ts'],
  },
]

const help = `Usage: npm run test:long [-- part ...]

Runs what takes too long for every change: all parts, or the named ones, one after the other, with a summary at the end.
Each part prints its own progress. Exits 0 when all pass, 1 when one fails, 2 for an unknown name.
PURSER_TEST_SEED repeats the random choices of a run; a variable of the environment that sets the size of a part wins.

${parts.map(({ name, shows }) => `  ${name.padEnd(10)}${shows}`).join('\n')}
`

process.exitCode = await main(process.argv.slice(2))

async function main(names: string[]): Promise<number> {
  if (names.includes('--help')) {
    console.log(help)
    return 0
  }
  const unknown = names.filter((name) => !parts.some((part) => part.name === name))
  if (unknown.length > 0) {
    console.error(`No part is called ${unknown.join(', ')}; --help lists them.`)
    return 2
  }
  const chosen = parts.filter(({ name }) => names.length === 0 || names.includes(name))
  const outcomes: string[] = []
  let passed = 0
  for (const [n, part] of chosen.entries()) {
    console.log(`\n[${n + 1}/${chosen.length}] ${part.name}: ${part.shows}`)
    const begun = performance.now()
    const isPassed = await run(part)
    if (isPassed) passed++
    const minutes = ((performance.now() - begun) / 60_000).toFixed(1)
    outcomes.push(`${isPassed ? 'ok  ' : 'FAIL'} ${part.name.padEnd(10)}${minutes.padStart(6)} min`)
  }
  console.log(`\n${outcomes.join('\n')}\n${passed} of ${chosen.length} parts passed`)
  return passed === chosen.length ? 0 : 1
}

async function run({ command, env }: Part): Promise<boolean> {
  const child = spawn(process.execPath, command, { cwd: root, env: { ...env, ...process.env }, stdio: 'inherit' })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code === 0
}
