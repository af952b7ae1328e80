// npm test: see --help.
// One real Postgres and one real Redis for the whole run; the last line is always "N passed, N failed".
import pLimit from 'p-limit'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { findTestFiles, readDurations, writeDurations, type Durations } from './runner/files.ts'
import { startProgress } from './runner/progress.ts'
import { runFile } from './runner/run-file.ts'
import { startServers } from './runner/servers.ts'

const FILE_SECONDS_MAX = 480
/** One more than there are cores: a file waits about half of its time, for Postgres, for processes, for a deadline. */
const FILES_AT_ONCE = Math.min(availableParallelism() + 1, 6)

const help = `Usage: npm test [-- [options] [file or folder ...]]

Runs all tests, or those of the named files and folders, and prints each file's result as it ends.
The last line is "N passed, N failed"; exits 1 when a test failed.

  --durable            Postgres writes to disk before it answers
  --jobs <n>           how many files run at once (here ${FILES_AT_ONCE}: one more than cores, at most 6)
  --timeout <seconds>  how long one file may take (${FILE_SECONDS_MAX})
  --names              also prints the name of every test
  --help               this text

TEST_DATABASE_URL and REDIS_URL name servers to use instead of starting some.
PURSER_TEST_SEED repeats the random choices of a run: a failed test prints its seed.
`

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    durable: { type: 'boolean', default: false },
    jobs: { type: 'string', default: String(FILES_AT_ONCE) },
    timeout: { type: 'string', default: String(FILE_SECONDS_MAX) },
    names: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (options.help) process.stdout.write(help)
else await main()

async function main(): Promise<void> {
  const totals = { passed: 0, failed: 0 }
  // The files that run are told to end, and the servers are stopped all the same.
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort())
  try {
    const durations = readDurations()
    const files = findTestFiles(positionals, durations)
    const servers = await startServers(options.durable)
    try {
      await runFiles(files, durations, servers.env, interrupted.signal, totals)
    } finally {
      for (const error of await servers.stop()) {
        console.error(error)
        totals.failed++
      }
    }
  } catch (error) {
    console.error(error)
    totals.failed++
  }
  if (totals.passed + totals.failed === 0) totals.failed++
  process.exitCode = totals.failed > 0 ? 1 : 0
  console.log(`${totals.passed} passed, ${totals.failed} failed`)
}

async function runFiles(
  files: string[],
  durations: Durations,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
  totals: { passed: number; failed: number },
): Promise<void> {
  const lanes = Number(options.jobs)
  const progress = startProgress(files, durations, lanes)
  const limit = pLimit(lanes)
  await limit.map(files, async (file) => {
    if (signal.aborted) return
    const result = await runFile(file, env, Number(options.timeout), signal)
    totals.passed += result.passed
    totals.failed += result.failed
    if (result.failed === 0) durations[file] = Number(result.seconds.toFixed(1))
    console.log(progress.ended(result))
    if (options.names) for (const name of result.names) console.log(`  - ${name}`)
  })
  if (positionals.length === 0) writeDurations(durations)
  if (signal.aborted) {
    console.log('Interrupted: not all files have run.')
    totals.failed++
  }
  console.log(progress.summary())
}
