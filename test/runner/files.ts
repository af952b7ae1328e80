import { globSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'

const root = join(import.meta.dirname, '..', '..')
const durationsFile = join(root, '.cache', 'test-durations.json')

/** Seconds by file, as measured by the last run of all files in this checkout. */
export type Durations = Record<string, number>

/** What a file is taken to need until it has been measured. */
const SECONDS_UNKNOWN = 4
/** The slowest files, for a checkout that has not run them yet: seconds on two quiet cores. */
export const SLOWEST: Durations = {
  'test/server/lifecycle.test.ts': 121,
  'test/sql/locks.test.ts': 76,
  'test/http/faults/outage.test.ts': 71,
  'test/http/alerts/deliveries.test.ts': 61,
  'test/http/quotas/quota-files.test.ts': 60,
  'test/http/reservations/usage-fuzz.test.ts': 53,
  'test/proof/kill.test.ts': 52,
  'test/http/keys/access.test.ts': 50,
  'test/http/faults/redis.test.ts': 49,
  'test/http/keys/tokens.test.ts': 44,
  'test/demo/demo.test.ts': 43,
  'test/http/keys/keys.test.ts': 41,
  'test/http/fuzz.test.ts': 40,
  'test/telemetry/spans.test.ts': 40,
  'test/http/costs/cost-export.test.ts': 37,
  'test/http/hardening.test.ts': 35,
  'test/http/limits.test.ts': 35,
  'test/http/faults/clock.test.ts': 34,
  'test/migrations/roles.test.ts': 33,
  'test/migrations/release.test.ts': 32,
}

/**
 * The test files that the arguments name (files, or folders for all that is in them), the slowest first; all without any.
 * @throws Error for an argument that names nothing.
 */
export function findTestFiles(args: string[], durations: Durations): string[] {
  const files =
    args.length === 0 ? glob('test') : args.flatMap((arg) => namedBy(relative(root, join(process.cwd(), arg))))
  return [...new Set(files)].toSorted((one, other) => secondsOf(other, durations) - secondsOf(one, durations))
}

export function secondsOf(file: string, durations: Durations): number {
  return durations[file] ?? SLOWEST[file] ?? SECONDS_UNKNOWN
}

export function readDurations(): Durations {
  try {
    return JSON.parse(readFileSync(durationsFile, 'utf8')) as Durations
  } catch {
    return {}
  }
}

/** Keeps what a run of all files has measured, for the order and the estimates of the next run. */
export function writeDurations(durations: Durations): void {
  mkdirSync(join(root, '.cache'), { recursive: true })
  writeFileSync(durationsFile, JSON.stringify(durations, null, 2))
}

function namedBy(path: string): string[] {
  const stats = statSync(join(root, path), { throwIfNoEntry: false })
  const files = stats?.isDirectory() ? glob(path) : stats?.isFile() ? [path] : []
  if (files.length === 0) throw new Error(`no tests at ${path}`)
  return files
}

function glob(folder: string): string[] {
  return globSync(`${folder}/**/*.test.ts`, { cwd: root }).toSorted()
}
