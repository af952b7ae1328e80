import { setTimeout as wait } from 'node:timers/promises'
import { startPostgres, TENANTS } from '../database.ts'
import { median, quantile } from '../figures.ts'
import { NEEDS_WRK, sendLoad } from '../load.ts'
import { KEY, startService } from '../processes.ts'
import { defineScenario } from '../scenario.ts'
import { say } from '../stage.ts'

const CALM_CLIENTS = 64
const CALM_MS = 4_000
const AFTER_MS = 6_000
const SLICE_MS = 100
/** The pause between two calls of a probe. */
const PROBE_MS = 50

type Probe = { calls: number; failed: number; p50Ms: number; p99Ms: number }

export const scenario = defineScenario({
  help: `What one service does when more is asked than it can decide, on a Postgres that flushes to disk: calm with a few clients, then
with far more of them, which ask again as soon as they are refused, then calm again. Shows how many requests were granted and
refused, how long health checks and commits took meanwhile, and when the calm rate was reached again.
${NEEDS_WRK}`,
  options: {
    seconds: [10, 'seconds of the overload'],
    connections: [4_000, 'clients of the overload; each needs a file descriptor'],
  },
  async run(stack, { seconds, connections }) {
    const { databaseUrl } = await startPostgres(stack, { max_wal_size: '4GB' })
    const unbounded = { PURSER_DEFAULT_LLM_USD_PER_DAY: '900000000' }
    const { url } = await startService(stack, { DATABASE_URL: databaseUrl, ...unbounded })
    const client = openClient(url)
    say('warming up')
    await countGranted(client, CALM_MS)
    say('calm')
    const calm = median(await countGranted(client, CALM_MS))
    const held: string[] = []
    while (held.length < (seconds * 1000) / PROBE_MS) {
      const { reservation_id: id } = (await (await client.reserve()).json()) as { reservation_id: string }
      held.push(id)
    }
    say(`${connections} connections for ${seconds} s`)
    let isOver = false
    const [answers, health, commits] = await Promise.all([
      sendLoad(url, { load: 'reserve', connections, seconds }).finally(() => (isOver = true)),
      probe(
        () => isOver,
        () => fetch(`${url}/healthz`),
      ),
      probe(
        () => isOver,
        () => client.commit(held.pop() ?? ''),
      ),
    ])
    say('calm again')
    const after = await countGranted(client, AFTER_MS)
    const slice = after.findIndex((granted) => granted >= 0.9 * calm)
    say('checking the invariants')
    const integrity = (await (await client.integrity()).json()) as { broken: unknown[] }
    return {
      calmPerSecond: (calm * 1000) / SLICE_MS,
      grantedPerSecond: (answers.requests - answers.failed) / seconds,
      refusedPerSecond: answers.failed / seconds,
      p50Ms: answers.p50Ms,
      p99Ms: answers.p99Ms,
      health,
      commits,
      /** Until a slice had nine tenths of the calm rate; null: none had within AFTER_MS. */
      recoveredMs: slice === -1 ? null : (slice + 1) * SLICE_MS,
      brokenInvariants: integrity.broken.length,
    }
  },
  print: (figures, { connections }) => [
    `calm, ${CALM_CLIENTS} clients in this process: ${figures.calmPerSecond.toFixed(0)} reservations/s`,
    `overload, ${connections} connections: ${figures.grantedPerSecond.toFixed(0)}/s granted, ${figures.refusedPerSecond.toFixed(0)}/s refused; ` +
      `p50 ${figures.p50Ms.toFixed(0)} ms, p99 ${figures.p99Ms.toFixed(0)} ms of all`,
    describe('health checks meanwhile', figures.health),
    describe('commits meanwhile', figures.commits),
    `nine tenths of the calm rate again: ${figures.recoveredMs === null ? `not within ${AFTER_MS / 1000} s` : `within ${figures.recoveredMs} ms`}`,
    `broken invariants: ${figures.brokenInvariants}`,
  ],
})

function describe(name: string, { calls, failed, p50Ms, p99Ms }: Probe): string {
  return `${name}: ${calls} calls, ${failed} failed, p50 ${p50Ms.toFixed(0)} ms, p99 ${p99Ms.toFixed(0)} ms`
}

function openClient(url: string) {
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' }
  const post = (path: string, body: object) =>
    fetch(`${url}/v1/${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  let sent = 0
  return {
    reserve: () => {
      sent += 1
      const tenant_id = `t-${(sent % TENANTS) + 1}`
      return post('reservations', { resource_type: 'llm', tenant_id, estimated_cost_usd: '0.01', ttl_seconds: 86_400 })
    },
    commit: (id: string) => post(`reservations/${id}/commit`, { actual_cost_usd: '0.01' }),
    integrity: () => fetch(`${url}/v1/integrity`, { headers }),
  }
}

/** Reservations granted in each SLICE_MS, to CALM_CLIENTS at once. */
async function countGranted(client: ReturnType<typeof openClient>, forMs: number): Promise<number[]> {
  const begun = performance.now()
  const slices = Array.from({ length: forMs / SLICE_MS }, () => 0)
  const reserveUntilEnd = async () => {
    for (;;) {
      const response = await client.reserve()
      await response.arrayBuffer()
      const slice = Math.floor((performance.now() - begun) / SLICE_MS)
      if (slice >= slices.length) return
      if (response.status === 201) slices[slice]! += 1
    }
  }
  await Promise.all(Array.from({ length: CALM_CLIENTS }, reserveUntilEnd))
  return slices
}

/** Calls again and again, until the overload is over. */
async function probe(isOver: () => boolean, call: () => Promise<Response>): Promise<Probe> {
  const took: number[] = []
  let failed = 0
  while (!isOver()) {
    const begun = performance.now()
    const response = await call()
    await response.arrayBuffer()
    took.push(performance.now() - begun)
    if (!response.ok) failed += 1
    await wait(PROBE_MS)
  }
  return { calls: took.length, failed, p50Ms: median(took), p99Ms: quantile(took, 0.99) }
}
