import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)

const reserve = (body: object) => service.call('POST', '/v1/reservations', body)
const check = (body: object) => service.call('POST', '/v1/reservations/check', body)
const extend = (id: string, body: object) => service.call('POST', `/v1/reservations/${id}/extend`, body)

/** Puts a tenant above its limits for models and for sandboxes. */
async function spendAll(tenantId: string, more: object = {}): Promise<void> {
  for (const type of ['llm', 'e2b']) {
    const own = { resource_type: type, tenant_id: tenantId }
    await service.call('PUT', '/v1/quotas', { ...own, scope: 'tenant', period: 'day', limit_usd: 1, ...more })
    await service.call('POST', '/v1/cost-records', { records: [{ ...own, cost_usd: 2 }] })
  }
}

const since = { effective_date: '2026-01-01T00:00:00Z' }
async function priceModel(model: string, card: object): Promise<void> {
  const made = await service.call('POST', '/v1/pricing/models', { provider: 'own', model, ...since, ...card })
  if (made.status !== 201) throw new Error(made.text)
}
async function priceTier(tier: string, usd: number, from: string): Promise<void> {
  const rates = { usd_per_vcpu_second: usd, usd_per_gib_second: usd }
  const made = await service.call('POST', '/v1/pricing/e2b', {
    ...{ tier, region: 'us-east-1', vcpu: 2, memory_mib: 512, ...rates, effective_date: from },
  })
  if (made.status !== 201) throw new Error(made.text)
}

await priceModel('free', { usd_per_mtok: { input: 0, output: 0 } })
await priceModel('free-but-searches', { usd_per_mtok: { input: 0, output: 0 }, usd_per_unit: { web_search: 0.01 } })
await priceModel('free-but-long', {
  usd_per_mtok: { input: 0 },
  long_context: { input_tokens_over: 100_000, usd_per_mtok: { input: 1 } },
})
await priceTier('free', 0, '2026-01-01T00:00:00Z')

const modelCall = (tenantId: string, model: string) => ({
  ...{
    resource_type: 'llm',
    tenant_id: tenantId,
    llm: { provider: 'own', model, input_tokens: 9, max_output_tokens: 9 },
  },
})
const sandbox = (tenantId: string, seconds: number) => ({
  ...{ resource_type: 'e2b', tenant_id: tenantId, e2b: { tier: 'free', max_seconds: seconds } },
})

t.test('no quota refuses or warns about a call with a free price', async (t) => {
  await spendAll('above')
  await spendAll('warned', { enforcement: 'warn' })
  for (const tenant of ['above', 'warned']) {
    for (const body of [modelCall(tenant, 'free'), sandbox(tenant, 60)]) {
      for (const more of [{}, { allow_caps: true }]) {
        const checked = await check({ ...body, ...more })
        t.match(checked.json, { allowed: true, requested_usd: 0, caps: null, warnings: [], violations: [] })
        const held = await reserve({ ...body, ...more })
        t.match(held, { status: 201, json: { reserved_usd: 0, caps: null, warnings: [] } })
        t.equal(held.headers.get('x-purser-enforcement'), null)
      }
    }
  }
  await assertHealthy(t, database.pool)
})

t.test('an estimate of 0 USD is refused above a limit, unless the price can only cost 0', async (t) => {
  await spendAll('zero')
  const own = { resource_type: 'llm', tenant_id: 'zero', estimated_cost_usd: 0 }
  for (const body of [own, modelCall('zero', 'free-but-searches'), modelCall('zero', 'free-but-long')]) {
    const refused = await reserve(body)
    t.match(refused, { status: 429, json: { requested_usd: 0, largest_allowed_usd: 0, overage_usd: 1 } })
    t.equal(
      refused.json.detail,
      'tenant zero is 1.00 USD above its limit of 1.00 USD today; 0.00 was asked for',
      'the message names no amount that would be refused',
    )
    t.match((await check(body)).json, { allowed: false, requested_usd: 0, violations: [{ scope_id: 'zero' }] })
  }
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'zero', period: 'day', limit_usd: 2 })
  t.equal((await reserve(own)).status, 201, 'an estimate of 0 fits at the limit')
  await assertHealthy(t, database.pool)
})

t.test('a sandbox is free if every second of its span is free', async (t) => {
  const inAnHour = new Date(Date.now() + 3_600_000).toISOString()
  await priceTier('soon-dear', 0, '2026-01-01T00:00:00Z')
  await priceTier('soon-dear', 0.01, inAnHour)
  await spendAll('span')
  const run = (seconds: number) => reserve({ ...sandbox('span', 1), e2b: { tier: 'soon-dear', max_seconds: seconds } })
  t.equal((await run(600)).status, 201)
  t.equal((await run(7_200)).status, 429)
})

t.test('the extension of a free hold is never refused', async (t) => {
  t.teardown(() => setNow(database, null))
  await setNow(database, '2027-03-09T23:58:00Z')
  const calls = { ...modelCall('longer', 'free'), ttl_seconds: 600 }
  const holds = [await reserve(calls), await reserve(sandbox('longer', 600)), await reserve(sandbox('longer', 600))]
  const own = await reserve({ ...calls, llm: undefined, estimated_cost_usd: 0 })
  const bodies = [{ max_output_tokens: 500 }, { max_seconds: 1_200 }].map((estimate) => ({ estimate }))
  await spendAll('longer')
  for (const [n, body] of bodies.entries()) {
    t.match(await extend(holds[n]!.json.reservation_id, body), { status: 200, json: { reserved_usd: 0, warnings: [] } })
  }
  await setNow(database, '2027-03-10T00:00:01Z')
  await spendAll('longer')
  for (const { json } of holds) {
    const extended = await extend(json.reservation_id, { ttl_seconds: 1_200 })
    t.match(extended, { status: 200, json: { status: 'reserved', reserved_usd: 0, warnings: [] } })
    t.match(extended.json.quotas, [{ reset_at: '2027-03-11T00:00:00Z' }], 'the hold moves to the current period')
  }
  t.equal(
    (await extend(own.json.reservation_id, { ttl_seconds: 1_200 })).status,
    429,
    'an estimate of 0 is not a free price',
  )
  await database.pool.query('select copilot_internal.expire_reservations()')
  await assertHealthy(t, database.pool)
})
