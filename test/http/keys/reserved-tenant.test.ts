import { SignJWT } from 'jose'
import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'

const SECRET = 'a-shared-secret-of-at-least-32-characters'
const database = await createDatabase(t)
const service = await startService(t, database.url, { PURSER_JWT_SECRET: SECRET })
const named = { tenant_id: 'platform' }
const spend = { resource_type: 'llm', estimated_cost_usd: 1 }

t.test('no caller can name the reserved tenant id that books spend without a tenant', async (t) => {
  const quota = { scope: 'tenant', period: 'day', limit_usd: 1, ...named }
  const endpoint = { kind: 'webhook', url: 'https://example.com/hooks', types: [], ...named }
  const attempts: [method: string, path: string, body: object, pointer: string][] = [
    ['POST', '/v1/reservations', { ...spend, ...named }, '/tenant_id'],
    ['POST', '/v1/reservations/check', { ...spend, ...named }, '/tenant_id'],
    [
      'POST',
      '/v1/cost-records',
      { records: [{ resource_type: 'e2b', cost_usd: 1, ...named }] },
      '/records/0/tenant_id',
    ],
    ['PUT', '/v1/quotas', quota, '/tenant_id'],
    ['PUT', '/v1/quotas', { ...quota, scope: 'user', user_id: 'u' }, '/tenant_id'],
    ['PUT', '/v1/quotas/bulk', { quotas: [quota] }, '/quotas/0/tenant_id'],
    ['POST', '/v1/api-keys', { name: 'k', role: 'service', ...named }, '/tenant_id'],
    ['POST', '/v1/webhook-endpoints', endpoint, '/tenant_id'],
  ]
  for (const [method, path, body, pointer] of attempts) {
    const refused = await service.call(method, path, body)
    t.match(refused, { status: 400, json: { errors: [{ pointer, message: /platform, which is reserved/ }] } }, path)
  }
  const token = await new SignJWT({ sub: 's', role: 'service', app_metadata: named })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('10m')
    .sign(new TextEncoder().encode(SECRET))
  const authorization = `Bearer ${token}`
  t.equal((await service.call('POST', '/v1/reservations', spend, { authorization })).status, 401)
  t.equal((await service.call('POST', '/v1/reservations', { ...spend, tenant_id: 'platform-2' })).status, 201)
})

t.test('bookings under the reserved tenant id can be read and settled', async (t) => {
  await database.pool.query(`select copilot_internal.increment_e2b_quota_spend('platform', null, 3)`)
  // As an earlier release stored it.
  const held = await service.call('POST', '/v1/reservations', { ...spend, tenant_id: 'before' })
  await database.pool.query(
    `update copilot_internal.reservations set tenant_id = 'platform' where reservation_id = $1`,
    [held.json.reservation_id],
  )
  const read = async (path: string) => (await service.call('GET', `${path}tenant_id=platform`)).json
  t.match(await read('/v1/cost-records?'), { data: [{ tenant_id: 'platform', cost_usd: 3 }] })
  t.match(await read('/v1/costs?'), { total: { cost_usd: 3 } })
  t.match(await read('/v1/reservations?'), { data: [{ tenant_id: 'platform' }] })
  for (const path of ['/v1/quotas?', '/v1/quotas/status?', '/v1/events?']) t.ok((await read(path)).data, path)
  const committed = await service.call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
    actual_cost_usd: 1,
  })
  t.equal(committed.status, 200)
  await assertHealthy(t, database.pool)
})
