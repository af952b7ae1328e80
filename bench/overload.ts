// What is served while more is asked than can be decided: npm run bench:overload. It prints; it never fails for a time.
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { sendLoad, type Answers } from './load.ts'
import { startService } from './processes.ts'
import { KEY, TENANTS, USERS_PER_TENANT } from './setup.ts'
import { median, onStage, quantile, say, startPostgres } from './stage.ts'

const help = `Usage: npm run bench:overload -- [options]

Measures one service on a Postgres that flushes to disk: calm with a few clients, then with far more of them than it can
decide for, which ask again as soon as they are refused, then calm again. Tells how many were served and refused, how long
the probe and commits took meanwhile, and when the calm rate was reached again.

Options
  --seconds N      seconds of the overload (default 10)
  --connections N  clients of the overload (default 4000; each is a file descriptor)
  --json           the figures as JSON
  --help           this text

It needs wrk: one on the PATH, or the package of Debian, which it unpacks into .cache/.
`

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    connections: { type: 'string', default: '4000' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const CALM_CLIENTS = 64
const CALM_MS = 4_000
const AFTER_MS = 6_000
const SLICE_MS = 100
/** One commit and one look at the probe each. */
const PROBE_MS = 50

if (values.help) process.stdout.write(help)
else print(await onStage(bench))

type Report = {
  connections: number
  calmPerSecond: number
  servedPerSecond: number
  refusedPerSecond: number
  p50Ms: number
  p99Ms: number
  probe: Probed
  commit: Probed
  /** Until a tenth of a second had nine tenths of the calm rate; null: not within AFTER_MS. */
  recoveredMs: number | null
  brokenInvariants: number
}

type Probed = { calls: number; failed: number; p50Ms: number; p99Ms: number }

async function bench(stack: AsyncDisposableStack): Promise<Report> {
  const postgres = await startPostgres(stack, { max_wal_size: '4GB' })
  const service = await startService({
    DATABASE_URL: postgres.databaseUrl,
    PURSER_ADMIN_KEY: KEY,
    PURSER_RATE_LIMIT_DECISIONS: '100000000',
    PURSER_DEFAULT_LLM_USD_PER_DAY: '900000000',
  })
  stack.defer(() => service.stop())
  const send = client(service.url)
  const seconds = Number(values.seconds)

  say('warming up')
  await stream(send, CALM_MS)
  say('calm')
  const calm = median(await stream(send, CALM_MS))
  const held: string[] = []
  while (held.length < (seconds * 1000) / PROBE_MS) {
    const { reservation_id: id } = (await (await send.reserve()).json()) as { reservation_id: string }
    held.push(id)
  }
  say(`${values.connections} connections for ${seconds} s`)
  let over = false
  const storm = sendLoad({
    url: service.url,
    load: 'reserve',
    connections: Number(values.connections),
    seconds,
    key: KEY,
    tenants: TENANTS,
    usersPerTenant: USERS_PER_TENANT,
    run: `overload-${process.pid}`,
  }).finally(() => (over = true))
  const done = () => over
  const [answers, probe, commit] = await Promise.all([
    storm,
    watch(done, () => fetch(`${service.url}/healthz`)),
    watch(done, () => send.commit(held.pop() ?? '')),
  ])
  say('calm again')
  const after = await stream(send, AFTER_MS)
  const slice = after.findIndex((count) => count >= 0.9 * calm)
  say('looking for broken invariants')
  const integrity = (await (await send.integrity()).json()) as { broken: unknown[] }
  return {
    connections: Number(values.connections),
    calmPerSecond: (calm * 1000) / SLICE_MS,
    ...rates(answers, seconds),
    probe,
    commit,
    recoveredMs: slice === -1 ? null : (slice + 1) * SLICE_MS,
    brokenInvariants: integrity.broken.length,
  }
}

function rates({ requests, failed, p50Ms, p99Ms }: Answers, seconds: number) {
  return { servedPerSecond: (requests - failed) / seconds, refusedPerSecond: failed / seconds, p50Ms, p99Ms }
}

function client(url: string) {
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' }
  const post = (path: string, body: object) =>
    fetch(`${url}/v1/${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  let sent = 0
  return {
    reserve: () => {
      sent += 1
      return post('reservations', {
        resource_type: 'llm',
        tenant_id: `t-${(sent % TENANTS) + 1}`,
        estimated_cost_usd: '0.01',
        ttl_seconds: 86_400,
      })
    },
    commit: (id: string) => post(`reservations/${id}/commit`, { actual_cost_usd: '0.01' }),
    integrity: () => fetch(`${url}/v1/integrity`, { headers }),
  }
}

/** Reservations that were granted in each SLICE_MS, with CALM_CLIENTS at once. */
async function stream(send: ReturnType<typeof client>, forMs: number): Promise<number[]> {
  const begun = performance.now()
  const slices = Array.from({ length: forMs / SLICE_MS }, () => 0)
  const one = async () => {
    for (;;) {
      const response = await send.reserve()
      await response.arrayBuffer()
      const slice = Math.floor((performance.now() - begun) / SLICE_MS)
      if (slice >= slices.length) return
      if (response.status === 201) slices[slice]! += 1
    }
  }
  await Promise.all(Array.from({ length: CALM_CLIENTS }, one))
  return slices
}

/** Calls again and again until all is over. */
async function watch(done: () => boolean, call: () => Promise<Response>): Promise<Probed> {
  const took: number[] = []
  let failed = 0
  while (!done()) {
    const begun = performance.now()
    const response = await call()
    await response.arrayBuffer()
    took.push(performance.now() - begun)
    if (!response.ok) failed += 1
    await wait(PROBE_MS)
  }
  return { calls: took.length, failed, p50Ms: median(took), p99Ms: quantile(took, 0.99) }
}

function print(report: Report): void {
  if (values.json) return void process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
  const { probe, commit, recoveredMs } = report
  const probed = (name: string, { calls, failed, p50Ms, p99Ms }: Probed) =>
    `${name}: ${calls} calls, ${failed} failed, p50 ${p50Ms.toFixed(0)} ms, p99 ${p99Ms.toFixed(0)} ms`
  const lines = [
    '',
    `calm, ${CALM_CLIENTS} clients of this process: ${report.calmPerSecond.toFixed(0)} reservations/s`,
    `overload, ${report.connections} connections: ${report.servedPerSecond.toFixed(0)}/s granted, ${report.refusedPerSecond.toFixed(0)}/s refused; p50 ${report.p50Ms.toFixed(0)} ms, p99 ${report.p99Ms.toFixed(0)} ms of all`,
    probed('meanwhile, health', probe),
    probed('meanwhile, commits', commit),
    `nine tenths of the calm rate again: ${recoveredMs === null ? `not within ${AFTER_MS / 1000} s` : `within ${recoveredMs} ms`}`,
    `broken invariants after the run: ${report.brokenInvariants}`,
    '',
  ]
  process.stdout.write(lines.join('\n'))
}
