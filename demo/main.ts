// npm run demo: sends real input through a running service and compares its books to the last decimal.
import { HELP, OptionError, readOptions, type Options } from './options.ts'
import { Progress } from './progress.ts'
import { reportJson, reportText, type Report } from './report.ts'
import { run } from './run.ts'
import { startOwnService } from './service.ts'

const INTERRUPTED = 130

const progress = new Progress()
const interrupt = new AbortController()
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupt.abort())

process.exitCode = await main().catch((error: unknown) => {
  progress.clear()
  if (interrupt.signal.aborted) return INTERRUPTED
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`)
  if (error instanceof Error && error.cause instanceof Error) process.stderr.write(`  ${error.cause.message}\n`)
  return error instanceof OptionError ? 2 : 1
})

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2), process.env)
  if (options.help) {
    process.stdout.write(HELP)
    return 0
  }
  const report =
    options.service === null
      ? await runAlone(options)
      : await run({ ...options.service, databaseUrl: null }, options.seed, progress, interrupt.signal)
  progress.clear()
  process.stdout.write(options.json ? reportJson(report) : reportText(report))
  return report.differences.length === 0 ? 0 : 1
}

/** Runs with a service of its own and always stops it. */
async function runAlone({ seed }: Options): Promise<Report> {
  progress.say('starting the service on a temporary folder')
  const service = await startOwnService()
  try {
    await service.ready(interrupt.signal)
    const { url, adminKey } = service
    return await run({ url, adminKey, databaseUrl: service.databaseUrl() }, seed, progress, interrupt.signal)
  } catch (error) {
    if (!interrupt.signal.aborted) {
      progress.clear()
      process.stderr.write(`The last lines of the service:\n${service.words()}\n`)
    }
    throw error
  } finally {
    progress.say('stopping the service')
    await service.stop()
  }
}
