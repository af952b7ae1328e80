import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findProgram } from '../test/helpers/servers/program.ts'
import { TENANTS, USERS_PER_TENANT } from './database.ts'
import { cpuSeconds } from './machine.ts'
import { KEY, type Running } from './processes.ts'
import { say } from './stage.ts'

export type Load = {
  /** What is sent, see requests.lua. `hot` is `reserve` for one tenant and user. */
  load: 'reserve' | 'hot' | 'pairs' | 'refused' | 'mix'
  connections: number
  seconds: number
  /** Milliseconds that a connection waits on average before each request. By default it sends at once. */
  pauseMs?: number
}

export type Answers = {
  requests: number
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  p999Ms: number
  /** Answers other than 2xx; for the load `refused`, answers that are 2xx. */
  failed: number
}

/** What a load got, with the processor time that a request took in the measured process and in Postgres. */
export type Measured = Answers & { nodeMicros: number; postgresMicros: number }

export const NEEDS_WRK = 'It needs wrk: from the PATH, or else from its Debian package, unpacked into .cache/.'

let loadsSent = 0

/** Sends requests with wrk on one thread and reads what wrk measured. */
export async function sendLoad(url: string, { load, connections, seconds, pauseMs = 0 }: Load): Promise<Answers> {
  const wrk = await findProgram('wrk', ['wrk'])
  loadsSent += 1
  const isHot = load === 'hot'
  const { stdout } = await promisify(execFile)(
    wrk.path,
    [
      ...['-t', '1', '-c', String(connections), '-d', `${seconds}s`, '--latency'],
      ...['-s', join(import.meta.dirname, 'requests.lua'), url],
    ],
    {
      env: {
        ...wrk.env,
        BENCH_LOAD: isHot ? 'reserve' : load,
        BENCH_KEY: KEY,
        BENCH_TENANTS: String(isHot ? 1 : TENANTS),
        BENCH_USERS: String(isHot ? 1 : USERS_PER_TENANT),
        // Idempotency keys begin with it: no two loads may have the same.
        BENCH_RUN: `${process.pid}-${loadsSent}`,
        BENCH_PAUSE: String(pauseMs),
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
    failed: lost + (load === 'refused' ? requests - others : others),
  }
}

/** Sends a load and counts the processor time that it took. */
export async function measureLoad(target: Running, postgresPid: number, load: Load): Promise<Measured> {
  const [node, postgres] = [cpuSeconds(target.pid), cpuSeconds(postgresPid)]
  const answers = await sendLoad(target.url, load)
  if (answers.failed > 0) say(`${answers.failed} of ${answers.requests} requests failed`)
  const microsSince = (pid: number, before: number) => ((cpuSeconds(pid) - before) / answers.requests) * 1e6
  return {
    ...answers,
    nodeMicros: microsSince(target.pid, node),
    postgresMicros: microsSince(postgresPid, postgres),
  }
}
