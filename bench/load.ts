import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findProgram } from '../test/helpers/program.ts'

export type Load = {
  url: string
  /** What each request is: a script beside this file. */
  script: string
  connections: number
  seconds: number
  key: string
  tenants: number
  usersPerTenant: number
  /** Makes the keys of this run its own. */
  run: string
}

export type Figures = {
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  /** Answers that are not 2xx, and broken connections. */
  failed: number
}

/** Sends requests with wrk on one thread, as fast as they are answered, and reads what it measured. */
export async function sendLoad(load: Load): Promise<Figures> {
  const wrk = await findProgram('wrk', ['wrk'])
  const { stdout } = await promisify(execFile)(
    wrk.path,
    [
      '-t',
      '1',
      '-c',
      String(load.connections),
      '-d',
      `${load.seconds}s`,
      '--latency',
      '-s',
      join(import.meta.dirname, load.script),
      load.url,
    ],
    {
      env: {
        ...wrk.env,
        BENCH_KEY: load.key,
        BENCH_TENANTS: String(load.tenants),
        BENCH_USERS: String(load.usersPerTenant),
        BENCH_RUN: load.run,
      },
    },
  )
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? 0)
  const milliseconds = (percentile: string) => {
    const [, value, unit] = new RegExp(`${percentile}%\\s+([0-9.]+)(us|ms|s)`).exec(stdout) ?? []
    return Number(value) * { us: 0.001, ms: 1, s: 1000 }[unit as 'us' | 'ms' | 's']
  }
  return {
    requestsPerSecond: number(/Requests\/sec:\s+([0-9.]+)/),
    p50Ms: milliseconds('50'),
    p99Ms: milliseconds('99'),
    failed: number(/Non-2xx or 3xx responses: (\d+)/) + number(/read (\d+)/) + number(/timeout (\d+)/),
  }
}
