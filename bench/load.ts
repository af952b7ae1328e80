import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findProgram } from '../test/helpers/servers/program.ts'

export type Load = {
  url: string
  /** What is sent: see requests.lua. */
  load: 'reserve' | 'pairs' | 'refused' | 'mix'
  connections: number
  seconds: number
  key: string
  tenants: number
  usersPerTenant: number
  /** Milliseconds that a connection waits on average before each request; none: it asks as soon as it is answered. */
  pauseMs?: number
  /** Makes the idempotency keys of this run its own. */
  run: string
}

export type Answers = {
  requests: number
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  p999Ms: number
  /** Answers that are not 2xx; for refusals those that are. */
  failed: number
}

/** Sends requests with wrk on one thread and reads what it measured. */
export async function sendLoad(load: Load): Promise<Answers> {
  const wrk = await findProgram('wrk', ['wrk'])
  const { stdout } = await promisify(execFile)(
    wrk.path,
    [
      ...['-t', '1', '-c', String(load.connections), '-d', `${load.seconds}s`, '--latency'],
      ...['-s', join(import.meta.dirname, 'requests.lua'), load.url],
    ],
    {
      env: {
        ...wrk.env,
        BENCH_LOAD: load.load,
        BENCH_KEY: load.key,
        BENCH_TENANTS: String(load.tenants),
        BENCH_USERS: String(load.usersPerTenant),
        BENCH_RUN: load.run,
        BENCH_PAUSE: String(load.pauseMs ?? 0),
      },
    },
  )
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? 0)
  const milliseconds = (percentile: string) => {
    const [, value, unit] = new RegExp(`\\s${percentile}%\\s+([0-9.]+)(us|ms|s)`).exec(stdout) ?? []
    return Number(value) * { us: 0.001, ms: 1, s: 1000 }[unit as 'us' | 'ms' | 's']
  }
  const requests = number(/(\d+) requests in/)
  const others = number(/Non-2xx or 3xx responses: (\d+)/)
  const lost = number(/connect (\d+)/) + number(/read (\d+)/) + number(/timeout (\d+)/)
  return {
    requests,
    requestsPerSecond: number(/Requests\/sec:\s+([0-9.]+)/),
    p50Ms: milliseconds('50'),
    p99Ms: milliseconds('99'),
    p999Ms: number(/Latency 99\.9%: (\d+)/) / 1000,
    failed: lost + (load.load === 'refused' ? requests - others : others),
  }
}
