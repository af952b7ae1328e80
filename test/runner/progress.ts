import { secondsOf, type Durations } from './files.ts'
import type { FileResult } from './run-file.ts'

const SLOWEST_SHOWN = 10

/** What a run prints: a line as each file ends, then a summary. */
export interface Progress {
  /** The line of a file that has ended, and below it what failed. */
  ended(result: FileResult): string
  /** The slowest files, and those that failed. */
  summary(): string
}

/**
 * @param durations what each file took the last time, for the time that is left.
 * @param lanes how many files run at once.
 */
export function startProgress(files: string[], durations: Durations, lanes: number): Progress {
  const results: FileResult[] = []
  const pending = new Set(files)
  const nameWidth = Math.max(...files.map((file) => file.length))
  return { ended, summary }

  function ended(result: FileResult): string {
    results.push(result)
    pending.delete(result.file)
    const place = `[${String(results.length).padStart(String(files.length).length)}/${files.length}]`
    const counts = `${result.passed} passed${result.failed > 0 ? `, ${result.failed} failed` : ''}`
    const line = [
      `${place} ${result.failed > 0 ? 'FAIL' : 'ok  '} ${result.file.padEnd(nameWidth)}`,
      counts.padStart(10),
      `${result.seconds.toFixed(1)} s`.padStart(8),
      ...(pending.size > 0 ? [`about ${timeLeft()} left`] : []),
    ].join('  ')
    return result.failed > 0 ? `${line}\n${failureText(result)}` : line
  }

  /** The files to come take as long as the last time, times what the files so far took more or less than then. */
  function timeLeft(): string {
    const taken = sum(results.map(({ seconds }) => seconds))
    const expected = sum(results.map(({ file }) => secondsOf(file, durations)))
    const seconds = (sum([...pending].map((file) => secondsOf(file, durations))) * (taken / expected)) / lanes
    return seconds < 60 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`
  }

  function summary(): string {
    const slowest = results.toSorted((one, other) => other.seconds - one.seconds).slice(0, SLOWEST_SHOWN)
    const failed = results.filter((result) => result.failed > 0)
    return [
      `Slowest files:`,
      ...slowest.map(({ file, seconds }) => `${seconds.toFixed(1).padStart(7)} s  ${file}`),
      ...(failed.length > 0 ? ['Files with failures:', ...failed.map(({ file }) => `  ${file}`)] : []),
    ].join('\n')
  }
}

function failureText({ failures, comments, stderr }: FileResult): string {
  const parts = [
    ...failures.map((failure) => `not ok ${failure}`),
    ...comments,
    ...(stderr === '' ? [] : ['stderr:', stderr.trimEnd()]),
  ]
  return parts.join('\n').replaceAll(/^/gm, '    ')
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
