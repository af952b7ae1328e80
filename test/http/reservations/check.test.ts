import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'

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

/** Every scope, quota and balance, as text. */
async function knownScopes(): Promise<string[]> {
  const { rows } = await database.pool.query<{ row: string }>(`
    select s::text as row from copilot_internal.scopes s
    union all select q::text from copilot_internal.cost_quotas q
    union all select p::text from copilot_internal.quota_periods p
    order by row`)
  return rows.map(({ row }) => row)
}

t.test('a check answers what a reservation would, and holds nothing', async (t) => {
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

t.test('a check of an unknown tenant or user writes nothing, and answers what a reservation would', async (t) => {
  const byDefault = { scope: 'user', resource_type: 'llm', period: 'hour' }
  await service.call('PUT', '/v1/quota-defaults', { ...byDefault, limit_usd: 3 })
  await service.call('PUT', '/v1/quota-defaults', {
    ...byDefault,
    period: 'month',
    limit_usd: 4,
    enforcement: 'warn',
  })
  t.teardown(async () => {
    for (const period of ['hour', 'month'])
      await service.call('DELETE', `/v1/quota-defaults?scope=user&resource_type=llm&period=${period}`)
  })
  // A quota that an administrator set for the user, a deleted one, and one whose period has no balance yet.
  const own = { scope: 'user', tenant_id: 'unknown', user_id: 'u' }
  await setQuota({ ...own, period: 'week', limit_usd: 9, time_zone: 'Asia/Kathmandu' })
  const { json: deleted } = await setQuota({ tenant_id: 'unknown', period: 'day', limit_usd: 1 })
  await service.call('DELETE', `/v1/quotas/${deleted.quota_id}`)
  await database.pool.query(`delete from copilot_internal.quota_periods where tenant_id = 'unknown'`)

  const before = await knownScopes()
  const body = { tenant_id: 'unknown', user_id: 'u', estimated_cost_usd: 2.5 }
  const checked = await check(body)
  const refused = await check({ ...body, estimated_cost_usd: 3.5 })
  const warned = await check({ ...body, user_id: 'v', estimated_cost_usd: 2.5 })
  for (let n = 0; n < 20; n++) await check({ ...body, tenant_id: `unknown-${n}`, user_id: `u-${n}` })
  t.same(await knownScopes(), before, 'nothing was written')

  t.match(refused.json, { allowed: false, largest_allowed_usd: 3, violations: [{ quota_id: null, period: 'hour' }] })
  t.equal(refused.json.violations.length, 1)
  t.match(warned.json, { allowed: true, quotas: { length: 2 } })
  t.match((await check({ ...body, estimated_cost_usd: 2.9, user_id: 'w' })).json.warnings, [])
  t.equal((await reserve({ ...body, user_id: 'x', estimated_cost_usd: 2 })).status, 201)
  t.match((await check({ ...body, user_id: 'x', estimated_cost_usd: 1 })).json, { largest_allowed_usd: 1 })

  const held = await reserve(body)
  const unmade = (quotas: Record<string, unknown>[]) => quotas.map(({ quota_id: _, ...quota }) => quota)
  t.same(
    unmade(checked.json.quotas),
    unmade(held.json.quotas).map((quota) => ({
      ...quota,
      reserved_usd: 0,
      remaining_usd: quota['limit_usd'],
    })),
    'the same quotas in the same order, without what the reservation holds',
  )
  t.same(
    checked.json.quotas.map((quota: { quota_id: number | null }) => quota.quota_id === null),
    [false, true, true],
  )
  await database.pool.query(`update copilot_internal.quota_defaults set enforcement = 'warn' where scope = 'user'`)
  t.match((await check({ ...body, user_id: 'y', estimated_cost_usd: 5 })).json, {
    allowed: true,
    warnings: [{ code: 'quota_exceeded', quota_id: null }, { quota_id: null }],
  })
  await assertHealthy(t, database.pool)
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

t.test('a check shows the caps that a reservation would be granted', async (t) => {
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

t.test('a quota above its limit allows 0, never a negative amount', async (t) => {
  await setQuota({ tenant_id: 'over', limit_usd: 5 })
  await reserve({ tenant_id: 'over', estimated_cost_usd: 5 })
  await setQuota({ tenant_id: 'over', limit_usd: 1 })
  t.match((await check({ tenant_id: 'over', estimated_cost_usd: 0.01 })).json, {
    allowed: false,
    largest_allowed_usd: 0,
  })
})

t.test('a warn quota gives a warning, an off quota none, and neither limits the largest allowed amount', async (t) => {
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

t.test('a check does not wait for a locked balance', async (t) => {
  const locker = await database.pool.connect()
  t.teardown(() => locker.release())
  await reserve({ tenant_id: 'locked', estimated_cost_usd: 1 })
  await locker.query('begin')
  await locker.query(`select from copilot_internal.quota_periods where tenant_id = 'locked' for update`)
  t.match(await check({ tenant_id: 'locked', estimated_cost_usd: 1 }), { status: 200, json: { allowed: true } })
  await locker.query('rollback')
})

t.test('a check validates its body as a reservation does', async (t) => {
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
