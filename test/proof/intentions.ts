import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import type { Test } from 'tap'
import type { Random } from '../../demo/random.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { ADMIN_KEY } from '../helpers/servers/service.ts'

/** Pause before a retry, so that many clients do not overload a machine that recovers; far less than Retry-After says. */
const PAUSE_MS = 50
const TENANTS = ['crash-1', 'crash-2', 'crash-3']

/** A call that must be done exactly once, however often its caller retries. Amounts in millionths of a USD. */
export type Intention = {
  key: string
  tenant: string
  amount: number
  plan: 'commit' | 'release' | 'keep'
  cost: number
  /** Taken from the answers so far. */
  id: string | null
  recordId: string | null
  done: boolean
}

export function makeIntentions(random: Random, prefix: string, count: number): Intention[] {
  return Array.from({ length: count }, (_, n) => {
    const amount = random.whole(1, 20_000)
    return {
      key: `${prefix}-${n}`,
      tenant: random.pick(TENANTS),
      amount,
      plan: random.pick(['commit', 'commit', 'commit', 'release', 'keep']),
      // A quarter of the costs are above the hold.
      cost: random.whole(0, Math.floor(amount * 1.33)),
      id: null,
      recordId: null,
      done: false,
    }
  })
}

export type Drive = {
  url: string
  clients: number
  /** Called after each answer. */
  onAnswer?: (status: number) => void
  /** Whether to retry after a 503 or a lost answer; false: leave it for later. */
  again: () => boolean
}

/** Several clients send the calls that are not done yet, one request each at a time. @throws Error at an unexpected answer. */
export async function pursue(intentions: Intention[], drive: Drive): Promise<void> {
  const open = intentions.filter(({ done }) => !done)
  await Promise.all(
    Array.from({ length: drive.clients }, async () => {
      for (let one = open.shift(); one !== undefined; one = open.shift()) {
        while (!(await advance(one, drive)) && drive.again()) await delay(PAUSE_MS)
      }
    }),
  )
}

/** Does the next steps of one intention; returns whether all are done. */
async function advance(one: Intention, drive: Drive): Promise<boolean> {
  if (one.id === null) {
    const body = {
      resource_type: 'llm',
      tenant_id: one.tenant,
      estimated_cost_usd: one.amount / 1e6,
      ttl_seconds: 3600,
    }
    const held = await ask(drive, '/v1/reservations', body, { 'idempotency-key': one.key })
    if (held === null) return false
    one.id = held['reservation_id'] as string
  }
  if (one.plan === 'commit') {
    const booked = await ask(drive, `/v1/reservations/${one.id}/commit`, { actual_cost_usd: one.cost / 1e6 })
    if (booked === null) return false
    one.recordId = booked['cost_record_id'] as string
  } else if (one.plan === 'release') {
    if ((await ask(drive, `/v1/reservations/${one.id}/release`, {})) === null) return false
  }
  one.done = true
  return true
}

/** The body of a 2xx answer; null if no answer came or nothing was decided. */
async function ask(
  { url, onAnswer }: Drive,
  path: string,
  body: object,
  headers: Record<string, string> = {},
): Promise<Record<string, unknown> | null> {
  let response: Response
  let text: string
  try {
    response = await fetch(url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
    text = await response.text()
  } catch {
    return null
  }
  onAnswer?.(response.status)
  if (response.status === 200 || response.status === 201) return JSON.parse(text) as Record<string, unknown>
  if (response.status === 503 && Number(response.headers.get('retry-after')) >= 1) return null
  throw new Error(`${path} answered ${response.status}: ${text}`)
}

/** Asserts that each call was done exactly once: one reservation a key, one cost record a commit, and matching balances. */
export async function assertDoneOnce(t: Test, pool: pg.Pool, intentions: Intention[]): Promise<void> {
  const { rows } = await pool.query<Record<'key' | 'id' | 'status' | 'lines' | 'cost' | 'record', string | null>>(`
    select r.idempotency_key as key, r.reservation_id as id, r.status, count(c.*)::text as lines,
           (sum(c.total_cost_usd) * 1e6)::bigint::text as cost, max(c.cost_record_id::text) as record
    from copilot_internal.reservations r left join copilot_internal.llm_cost_records c using (reservation_id)
    group by r.reservation_id order by r.idempotency_key`)
  const status = { commit: 'committed', release: 'released', keep: 'reserved' }
  const expected = intentions.map(({ key, id, plan, cost, recordId }) => {
    const booked = plan === 'commit'
    return {
      key,
      id,
      status: status[plan],
      lines: booked ? '1' : '0',
      cost: booked ? String(cost) : null,
      record: recordId,
    }
  })
  const byKey = (a: { key: string | null }, b: { key: string | null }) => (a.key! < b.key! ? -1 : 1)
  t.same(rows.toSorted(byKey), expected.toSorted(byKey), 'each call was done once, as it was answered')
  const sum = (plan: Intention['plan'], what: 'amount' | 'cost') =>
    intentions.filter((one) => one.plan === plan).reduce((usd, one) => usd + one[what], 0)
  const { rows: balances } = await pool.query(`
    select (sum(spent) * 1e6)::bigint::text as spent, (sum(reserved) * 1e6)::bigint::text as reserved
    from copilot_internal.quota_periods where scope = 'tenant'`)
  t.same(
    balances,
    [{ spent: String(sum('commit', 'cost')), reserved: String(sum('keep', 'amount')) }],
    'the balances match the settled calls',
  )
  await assertHealthy(t, pool)
}
