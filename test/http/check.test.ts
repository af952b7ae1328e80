import t from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/integrity.ts'
import { startService } from '../helpers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)
const caller = await service.keyFor('service')

const call = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  service.call(method, path, body, { ...caller, ...headers })
const check = (body: object, headers: Record<string, string> = {}) =>
  call('POST', '/v1/reservations/check', { resource_type: 'llm', ...body }, headers)
const reserve = (body: object) => call('POST', '/v1/reservations', { resource_type: 'llm', ...body })
const setQuota = (quota: object) => service.call('PUT', '/v1/quotas', { scope: 'tenant', period: 'day', ...quota })

const modelCall = (tenantId: string, more: object = {}) => ({
  tenant_id: tenantId,
  llm: { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 12_000, max_output_tokens: 2_000 },
  ...more,
})

async function reservations(): Promise<number> {
  const { rows } = await database.pool.query<{ n: number }>(
    'select count(*)::integer as n from copilot_internal.reservations',
  )
  return rows[0]!.n
}

t.test('a check says what a reservation would be answered, and holds nothing', async (t) => {
  const checked = await check(modelCall('asks', { user_id: 'u', conversation_id: 'c' }))
  t.equal(checked.status, 200)
  t.equal(checked.headers.get('x-purser-enforcement'), null)
  const { quotas, price_id: priceId, ...rest } = checked.json
  t.same(rest, {
    allowed: true,
    requested_usd: 0.05,
    largest_allowed_usd: 50,
    caps: null,
    warnings: [],
    violations: [],
  })
  t.match(quotas, [{ scope: 'tenant', scope_id: 'asks', limit_usd: 50, reserved_usd: 0, remaining_usd: 50 }])
  t.equal(await reservations(), 0)

  const held = await reserve(modelCall('asks', { user_id: 'u', conversation_id: 'c' }))
  t.match(held.json, { reserved_usd: 0.05, price_id: priceId })
  t.match((await check(modelCall('asks'))).json, {
    allowed: true,
    largest_allowed_usd: 49.95,
    quotas: [{ reserved_usd: 0.05, remaining_usd: 49.95 }],
  })
})

t.test('a refusal is an answer, with the violations of a 429', async (t) => {
  await setQuota({ scope: 'user', tenant_id: 'poor', user_id: 'u', period: 'total', limit_usd: 2 })
  await reserve({ tenant_id: 'poor', user_id: 'u', estimated_cost_usd: 1.5 })
  const body = { tenant_id: 'poor', user_id: 'u', estimated_cost_usd: 0.75 }
  const before = await reservations()
  const checked = await check(body)
  t.match(checked, { status: 200, json: { allowed: false, requested_usd: 0.75, largest_allowed_usd: 0.5 } })
  t.match(checked.json, { caps: null, warnings: [], price_id: null })
  t.equal(checked.json.quotas.length, 2)
  const refused = await reserve(body)
  t.equal(refused.status, 429)
  t.same(checked.json.violations, refused.json.violations)
  t.equal(await reservations(), before)
  await assertHealthy(t, database.pool)
})

t.test('caps are told as they would be granted', async (t) => {
  await setQuota({ tenant_id: 'capped', limit_usd: 0.033129 })
  t.match((await check(modelCall('capped', { allow_caps: true }))).json, {
    allowed: true,
    requested_usd: 0.05,
    largest_allowed_usd: 0.033129,
    caps: { max_output_tokens: 312 },
    violations: [],
  })
  t.match((await check(modelCall('capped'))).json, { allowed: false, caps: null, violations: [{ scope: 'tenant' }] })
  t.match((await reserve(modelCall('capped', { allow_caps: true }))).json, { caps: { max_output_tokens: 312 } })
  t.match((await check(modelCall('capped', { allow_caps: true }))).json, { allowed: false, caps: null })
  await setQuota({ tenant_id: 'capped', limit_usd: 1e-9, resource_type: 'e2b' })
  t.match(
    (await check({ resource_type: 'e2b', tenant_id: 'capped', allow_caps: true, e2b: { max_seconds: 10 } })).json,
    { allowed: false, caps: null, largest_allowed_usd: 1e-9 },
  )
})

t.test('what is above its limit leaves no room, not a debt', async (t) => {
  await setQuota({ tenant_id: 'over', limit_usd: 5 })
  await reserve({ tenant_id: 'over', estimated_cost_usd: 5 })
  await setQuota({ tenant_id: 'over', limit_usd: 1 })
  t.match((await check({ tenant_id: 'over', estimated_cost_usd: 0.01 })).json, {
    allowed: false,
    largest_allowed_usd: 0,
  })
})

t.test('a warn quota warns, an off one is silent, and neither bounds the room', async (t) => {
  await setQuota({ tenant_id: 'warned', limit_usd: 1, enforcement: 'warn' })
  const warned = await check({ tenant_id: 'warned', estimated_cost_usd: 2 })
  t.match(warned.json, { allowed: true, warnings: [{ code: 'quota_exceeded' }], violations: [] })
  t.equal(warned.headers.get('x-purser-enforcement'), 'warn')
  t.equal(warned.json.largest_allowed_usd, null)
  await setQuota({ tenant_id: 'quiet', limit_usd: 1, enforcement: 'off' })
  t.match((await check({ tenant_id: 'quiet', estimated_cost_usd: 2 })).json, { allowed: true, warnings: [] })
  const warning = await startService(t, database.url, { PURSER_ENFORCEMENT: 'warn' })
  t.match(
    await warning.call('POST', '/v1/reservations/check', {
      resource_type: 'llm',
      tenant_id: 'poor',
      estimated_cost_usd: 60,
    }),
    { status: 200, json: { allowed: true, warnings: [{ code: 'quota_exceeded' }], violations: [] } },
  )
})

t.test('a balance that another session has locked does not hold a check up', async (t) => {
  const locker = await database.pool.connect()
  t.teardown(() => locker.release())
  await check({ tenant_id: 'locked', estimated_cost_usd: 1 })
  await locker.query('begin')
  await locker.query(`select from copilot_internal.quota_periods where tenant_id = 'locked' for update`)
  t.match(await check({ tenant_id: 'locked', estimated_cost_usd: 1 }), { status: 200, json: { allowed: true } })
  await locker.query('rollback')
})

t.test('a check is held to the rules of a reservation', async (t) => {
  const bound = await service.keyFor('service', 'bound')
  t.match(await check({ estimated_cost_usd: 1 }, bound), { status: 200, json: { quotas: [{ scope_id: 'bound' }] } })
  t.match(await check({ tenant_id: 'other', estimated_cost_usd: 1 }, bound), { status: 403 })
  t.match(await check({ tenant_id: 'x' }), { status: 400, json: { errors: [{ pointer: '/llm' }] } })
  t.match(await check({ tenant_id: 'x', estimated_cost_usd: 1, allow_caps: true }), {
    status: 400,
    json: { errors: [{ pointer: '/allow_caps' }] },
  })
  t.match(await check({ tenant_id: 'x', llm: { model: 'gpt-6.1-sool', input_tokens: 1, max_output_tokens: 1 } }), {
    status: 422,
    json: { code: 'price_not_found' },
  })
  t.equal((await check({ tenant_id: 'x', estimated_cost_usd: 1 }, await service.keyFor('viewer'))).status, 403)
  await setQuota({ scope: 'platform', limit_usd: 1000 })
  const seen = await check({ estimated_cost_usd: 2000 }, bound)
  t.match(
    seen.json.violations.find(({ scope }: { scope: string }) => scope === 'platform'),
    { limit_usd: null, spent_usd: null, reserved_usd: null, remaining_usd: null },
  )
  await assertHealthy(t, database.pool)
})
