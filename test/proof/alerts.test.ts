// Ten instances cross the same thresholds at once: one event for each threshold, and one more after the limit has changed.
import t from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { ADMIN_KEY } from '../helpers/servers/service.ts'
import { openInstance } from './instance.ts'

const INSTANCES = 10
const AT_ONCE = 120

const database = await createDatabase(t)
// One after the other: building an app blocks this process for longer than a pool waits for a connection.
const urls: string[] = []
while (urls.length < INSTANCES) urls.push(await openInstance(t, database.url))

async function call(instance: number, method: string, path: string, body: object) {
  const response = await fetch(urls[instance % INSTANCES] + path, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return { status: response.status, json: (await response.json()) as { reservation_id: string } }
}

const atOnce = <Answer>(work: (n: number) => Promise<Answer>) =>
  Promise.all(Array.from({ length: AT_ONCE }, (_, n) => work(n)))
const reserve = (n: number, tenantId: string, usd: number) =>
  call(n, 'POST', '/v1/reservations', { resource_type: 'llm', tenant_id: tenantId, estimated_cost_usd: usd })
const setLimit = (tenantId: string, usd: number) =>
  call(0, 'PUT', '/v1/quotas', { scope: 'tenant', tenant_id: tenantId, period: 'total', limit_usd: usd })

async function emitted(tenantId: string): Promise<string[]> {
  const { rows } = await database.pool.query<{ event: string }>(
    `select concat_ws(' ', e.type, e.data ->> 'threshold', e.data ->> 'cause') as event
     from copilot_internal.quota_events e
     join copilot_internal.cost_quotas q using (quota_id)
     where q.tenant_id = $1 and q.period = 'total' order by 1`,
    [tenantId],
  )
  return rows.map((row) => row.event)
}

t.test('many commits on ten instances that cross thresholds at once emit one event for each threshold', async (t) => {
  await setLimit('crossed', AT_ONCE / 100)
  const held = await atOnce((n) => reserve(n, 'crossed', 0.01))
  const statuses = await atOnce(async (n) => {
    const path = `/v1/reservations/${held[n]!.json.reservation_id}/commit`
    return (await call(n + 1, 'POST', path, { actual_cost_usd: 0.01 })).status
  })
  t.same([...new Set(statuses)], [200])
  t.same(await emitted('crossed'), ['quota.exceeded spent', 'quota.warning 0.8', 'quota.warning 0.9'])
})

t.test('many refusals on ten instances emit one event, and one more after the limit has changed', async (t) => {
  const storm = async () => [...new Set((await atOnce((n) => reserve(n, 'refused', 2))).map(({ status }) => status))]
  await setLimit('refused', 1)
  t.same(await storm(), [429])
  t.same(await storm(), [429])
  t.same(await emitted('refused'), ['quota.exceeded refusal'])
  await setLimit('refused', 1.5)
  t.same(await storm(), [429])
  t.same(await emitted('refused'), ['quota.exceeded refusal', 'quota.exceeded refusal'])
  await assertHealthy(t, database.pool)
})
