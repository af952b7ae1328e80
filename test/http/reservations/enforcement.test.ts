import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)

const dollars = (tenantId: string, usd: number) => ({
  resource_type: 'llm',
  tenant_id: tenantId,
  estimated_cost_usd: usd,
})

t.test('a warn quota allows and emits an event; an enforced quota beside it still refuses', async (t) => {
  await service.call('PUT', '/v1/quotas', {
    scope: 'tenant',
    tenant_id: 'warned',
    period: 'hour',
    limit_usd: 1,
    enforcement: 'warn',
  })
  const within = await service.call('POST', '/v1/reservations', dollars('warned', 1))
  t.equal(within.headers.get('x-purser-enforcement'), null)
  t.same(within.json.warnings, [])
  const above = await service.call('POST', '/v1/reservations', dollars('warned', 2))
  t.equal(above.status, 201)
  t.equal(above.headers.get('x-purser-enforcement'), 'warn')
  t.match(above.json.warnings, [{ code: 'quota_exceeded', detail: /tenant warned is above its quota this hour/ }])
  t.equal((await service.call('POST', '/v1/reservations', dollars('warned', 48))).status, 429, 'the day is enforced')
})

t.test('an off quota counts and emits nothing', async (t) => {
  await service.call('PUT', '/v1/quotas', {
    scope: 'tenant',
    tenant_id: 'quiet',
    period: 'day',
    limit_usd: 1,
    enforcement: 'off',
  })
  const held = await service.call('POST', '/v1/reservations', dollars('quiet', 5))
  t.match(held, { status: 201, json: { warnings: [], quotas: [{ reserved_usd: 5, enforcement: 'off' }] } })
})

t.test('PURSER_ENFORCEMENT=warn turns every refusal into a warning, and off only counts', async (t) => {
  const warning = await startService(t, database.url, { PURSER_ENFORCEMENT: 'warn' })
  const warned = await warning.call('POST', '/v1/reservations', dollars('rollout', 60))
  t.match(warned, { status: 201, json: { warnings: [{ code: 'quota_exceeded' }] } })
  t.equal(warned.headers.get('x-purser-enforcement'), 'warn')
  const off = await startService(t, database.url, { PURSER_ENFORCEMENT: 'off' })
  t.match(await off.call('POST', '/v1/reservations', dollars('rollout', 60)), { status: 201, json: { warnings: [] } })
  const counted = await off.call('POST', '/v1/reservations', dollars('counted', 1))
  const path = `/v1/reservations/${counted.json.reservation_id}`
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'counted', period: 'day', limit_usd: 1 })
  t.equal((await off.call('POST', `${path}/extend`, { estimate: { estimated_cost_usd: 2 } })).status, 200)
  const booked = await off.call('POST', `${path}/commit`, { actual_cost_usd: 60 })
  t.match(booked, { status: 200, json: { quotas: [{ spent_usd: 60 }], warnings: [] } })
  const records = [{ resource_type: 'llm', tenant_id: 'counted', cost_usd: 1 }]
  const [recorded] = (await off.call('POST', '/v1/cost-records', { records })).json.data
  const correction = { cost_usd: 2, reason: 'invoice' }
  t.equal((await off.call('POST', `/v1/cost-records/${recorded.cost_record_id}/correct`, correction)).status, 201)
  const types = async () => {
    const { json } = await service.call('GET', '/v1/events?tenant_id=counted')
    return json.data.map(({ type }: { type: string }) => type).toSorted()
  }
  t.same(await types(), ['quota.overrun'], 'no quota emits an event')
  const next = await service.call('POST', '/v1/cost-records', { records: [{ ...records[0], cost_usd: 0.01 }] })
  t.equal(next.status, 201)
  t.same(
    await types(),
    ['quota.exceeded', 'quota.overrun', 'quota.warning', 'quota.warning'],
    'a service that enforces again emits with the next cost',
  )
  t.match(await service.call('POST', '/v1/reservations', dollars('rollout', 0.01)), {
    status: 429,
    json: { reserved_usd: 120, largest_allowed_usd: 0 },
  })
  await assertHealthy(t, database.pool)
})

t.test('the defaults follow the environment until an administrator sets a quota', async (t) => {
  await service.call('POST', '/v1/reservations', dollars('known', 1))
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'set', period: 'day', limit_usd: 7 })
  await service.call('POST', '/v1/reservations', dollars('set', 1))
  const other = await startService(t, database.url, { PURSER_DEFAULT_LLM_USD_PER_DAY: '20.5' })
  const status = async (tenant: string) =>
    (await other.call('GET', `/v1/quotas/status?tenant_id=${tenant}&resource_type=llm`)).json.data
  t.match(await status('known'), [{ limit_usd: 20.5, reserved_usd: 1 }])
  t.match(await status('set'), [{ limit_usd: 7 }])
  t.match((await other.call('POST', '/v1/reservations', dollars('unseen', 1))).json.quotas, [{ limit_usd: 20.5 }])
})
