import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { startService } from '../../helpers/servers/service.ts'

const NOON = '2026-11-26T12:00:00Z'
const database = await createDatabase(t)
await setNow(database, NOON)
const service = await startService(t, database.url)

/** A tier that costs 0.001 USD a second, and twenty times as much from `risesAt` on. */
async function publishRisingTier(tier: string, risesAt: string, more: object = {}): Promise<void> {
  const card = { tier, vcpu: 1, memory_mib: 1024, usd_per_gib_second: 0, ...more }
  await service.call('POST', '/v1/pricing/e2b', { ...card, usd_per_vcpu_second: 0.001 })
  await service.call('POST', '/v1/pricing/e2b', { ...card, usd_per_vcpu_second: 0.02, effective_date: risesAt })
}

const run = (tier: string, maxSeconds: number, more: object = {}) => ({
  resource_type: 'e2b',
  tenant_id: 'rising',
  e2b: { tier, max_seconds: maxSeconds },
  ...more,
})
/** The service's clock runs while the database's is stopped, so a hold may count more seconds at the higher rate. */
const isFrom = (usd: number, low: number, dearest: number) => usd >= low && usd <= dearest

await service.call('PUT', '/v1/quotas', {
  resource_type: 'e2b',
  scope: 'tenant',
  tenant_id: 'rising',
  period: 'day',
  limit_usd: 1_000,
})

t.test('a sandbox hold includes a price rise during its run, so its commit has no overrun', async (t) => {
  await publishRisingTier('soon', '2026-11-26T12:01:00Z')
  const checked = await service.call('POST', '/v1/reservations/check', run('soon', 3_000))
  t.ok(isFrom(checked.json.requested_usd, 58.86, 60), checked.text)
  const held = await service.call('POST', '/v1/reservations', run('soon', 3_000))
  t.ok(isFrom(held.json.reserved_usd, 58.86, 60), '60 s at 0.001 and 2,940 s at 0.02')
  const committed = await service.call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
    usage: { seconds: 3_000 },
  })
  t.match(committed.json, { cost_usd: 58.86, overrun_usd: 0 })
})

t.test('an extended hold is priced from its start, including the rise', async (t) => {
  await publishRisingTier('longer', '2026-11-26T12:01:00Z')
  const held = await service.call('POST', '/v1/reservations', run('longer', 60))
  t.ok(isFrom(held.json.reserved_usd, 0.06, 1.2), held.text)
  const extended = await service.call('POST', `/v1/reservations/${held.json.reservation_id}/extend`, {
    estimate: { max_seconds: 160 },
  })
  t.match(extended.json, { reserved_usd: 2.06 })
})

t.test('a cap is computed from the most expensive second of the span', async (t) => {
  await publishRisingTier('capped', '2026-11-26T12:30:00Z')
  await service.call('PUT', '/v1/quotas', {
    resource_type: 'e2b',
    scope: 'user',
    tenant_id: 'rising',
    user_id: 'small',
    period: 'day',
    limit_usd: 0.5,
  })
  const capped = (seconds: number) =>
    service.call('POST', '/v1/reservations/check', run('capped', seconds, { user_id: 'small', allow_caps: true }))
  t.match((await capped(3_000)).json, { allowed: true, caps: { max_runtime_seconds: 25 } }, '0.5 / 0.02')
  t.match((await capped(50)).json, { allowed: true, caps: null, requested_usd: 0.05 }, 'the run ends before the rise')
})

t.test('a hold that would run past the last known price is refused', async (t) => {
  const ending = {
    tier: 'ending',
    region: 'us-east-1',
    vcpu: 1,
    memory_mib: 1024,
    usd_per_vcpu_second: '0.001',
    usd_per_gib_second: '0',
    effective_date: '2026-11-01T00:00:00Z',
    expires_at: '2026-11-26T12:10:00Z',
    source: 'test',
  }
  await database.pool.query('select copilot_internal.publish_e2b_prices($1::jsonb)', [JSON.stringify([ending])])
  t.match(await service.call('POST', '/v1/reservations', run('ending', 900)), {
    status: 400,
    json: { errors: [{ pointer: '/e2b/max_seconds', message: /past the last known price of tier ending/ }] },
  })
  t.equal((await service.call('POST', '/v1/reservations', run('ending', 300))).status, 201)
})
