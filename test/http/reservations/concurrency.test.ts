import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService, type Answer, type Service } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const services = await Promise.all([startService(t, database.url), startService(t, database.url)])
const caller = await services[0].keyFor('service')

/** Runs the requests with this many clients, each with one request in flight at a time. */
async function storm(clients: number, requests: number, send: (n: number) => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = []
  let next = 0
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (next < requests) answers.push(await send(next++))
    }),
  )
  return answers
}

function tally(answers: Answer[]): Record<number, number> {
  return Object.fromEntries(
    [...new Set(answers.map(({ status }) => status))].map((status) => [
      status,
      answers.filter((a) => a.status === status).length,
    ]),
  )
}

const cent = (tenantId: string) => ({ resource_type: 'llm', tenant_id: tenantId, estimated_cost_usd: 0.01 })

const reserve = (service: Service, tenantId: string, key?: string) =>
  service.call('POST', '/v1/reservations', cent(tenantId), {
    ...caller,
    ...(key === undefined ? {} : { 'idempotency-key': key }),
  })

for (const instances of [1, 2]) {
  t.test(`64 clients never exceed a limit of 1.00 USD with holds of cents, over ${instances} instances`, async (t) => {
    const tenant = `dollar-${instances}`
    await services[0].call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: tenant, period: 'day', limit_usd: 1 })
    const answers = await storm(64, 400, (n) => reserve(services[n % instances]!, tenant, `${tenant}-${n}`))
    t.same(tally(answers), { 201: 100, 429: 300 })
    const status = await services[0].call('GET', `/v1/quotas/status?tenant_id=${tenant}`)
    t.match(status.json.data, [{ limit_usd: 1, reserved_usd: 1, spent_usd: 0, remaining_usd: 0 }])
    await assertHealthy(t, database.pool)
  })
}

t.test('a hundred concurrent first requests of a new tenant obey the default quotas', async (t) => {
  const answers = await storm(100, 100, (n) =>
    services[n % 2]!.call(
      'POST',
      '/v1/reservations',
      { resource_type: 'llm', tenant_id: 'newcomer', estimated_cost_usd: 1 },
      caller,
    ),
  )
  t.same(tally(answers), { 201: 50, 429: 50 })
  const sandboxes = await storm(100, 100, (n) =>
    services[n % 2]!.call(
      'POST',
      '/v1/reservations',
      { resource_type: 'e2b', tenant_id: 'newcomer', user_id: `u-${n}`, estimated_cost_usd: 1 },
      caller,
    ),
  )
  t.same(tally(sandboxes), { 201: 10, 429: 90 })
  const { rows } = await database.pool.query(
    `select resource_type, limit_usd::text as limit_usd from copilot_internal.cost_quotas where tenant_id = 'newcomer' order by 1`,
  )
  t.same(rows, [
    { resource_type: 'llm', limit_usd: '50' },
    { resource_type: 'e2b', limit_usd: '10' },
  ])
  await assertHealthy(t, database.pool)
})

t.test('twenty concurrent requests with one key over two instances get the same answer', async (t) => {
  const answers = await storm(20, 20, (n) => reserve(services[n % 2]!, 'shared-key', 'one'))
  t.same(tally(answers), { 201: 20 })
  t.equal(new Set(answers.map(({ json }) => json.reservation_id)).size, 1)
})

t.test('a concurrent commit and release settle a reservation once', async (t) => {
  const held = await Promise.all(Array.from({ length: 40 }, () => reserve(services[0], 'race')))
  const outcomes = await Promise.all(
    held.flatMap(({ json: { reservation_id: id } }) => [
      services[0].call('POST', `/v1/reservations/${id}/commit`, { actual_cost_usd: 0.02 }, caller),
      services[1].call('POST', `/v1/reservations/${id}/release`, {}, caller),
      services[1].call('POST', `/v1/reservations/${id}/commit`, { actual_cost_usd: 0.02 }, caller),
    ]),
  )
  for (const [n, outcome] of outcomes.entries()) {
    if (n % 3 === 1) t.ok([200, 409].includes(outcome.status), 'the release came first, or was refused')
    else t.match(outcome, { status: 200, json: { cost_usd: 0.02 } })
  }
  const { rows } = await database.pool.query(
    `select count(*)::integer as lines, sum(total_cost_usd)::text as usd from copilot_internal.llm_cost_records where tenant_id = 'race'`,
  )
  t.same(rows, [{ lines: 40, usd: '0.80' }])
  await assertHealthy(t, database.pool)
})

t.test('concurrent tenants and users over two instances lose nothing and book nothing twice', async (t) => {
  const answers = await storm(32, 600, (n) =>
    services[n % 2]!.call(
      'POST',
      '/v1/reservations',
      { ...cent(`crowd-${n % 7}`), user_id: `u-${n % 11}` },
      { ...caller, 'idempotency-key': `crowd-${n}` },
    ),
  )
  t.same(tally(answers), { 201: 600 })
  const commits = await storm(32, 600, (n) =>
    services[(n + 1) % 2]!.call(
      'POST',
      `/v1/reservations/${answers[n]!.json.reservation_id}/commit`,
      { actual_cost_usd: '0.003' },
      caller,
    ),
  )
  t.same(tally(commits), { 200: 600 })
  const { rows } = await database.pool.query(
    `select sum(spent)::text as spent, sum(reserved)::text as reserved from copilot_internal.quota_periods where tenant_id like 'crowd-%'`,
  )
  t.same(
    rows.map(({ spent, reserved }) => [Number(spent), Number(reserved)]),
    [[1.8, 0]],
  )
  await assertHealthy(t, database.pool)
})
