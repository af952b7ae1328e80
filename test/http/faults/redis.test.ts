import { createRequire } from 'node:module'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { sealWith } from '../../../src/cache/seal.ts'
import { findFreePort } from '../../../src/embedded/free-port.ts'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startRedis } from '../../helpers/servers/redis.ts'
import { startService, type Answer, type Service } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const redis = await startRedis(t)
const service = await startService(t, database.url, { REDIS_URL: redis.url })
/** Another instance on the same database, without Redis. */
const apart = await startService(t, database.url)
const client = openClient(t, redis.url)
await until(async () => (await redisCheck(service)) === 'up')

const MODEL = 'gpt-6.1-sol'
const CALL = { provider: 'openai', input_tokens: 1_000, max_output_tokens: 1_000 }
const statusKey = (...scope: [tenant: string, user: string]) => `purser:quota-status:${JSON.stringify(scope)}`
const priceKey = (model: string) => `purser:price:name:${JSON.stringify(['openai', model])}`

function openClient(t: Test, url: string): Redis {
  const made = new Redis(url)
  // The test kills it on purpose.
  made.on('error', () => {})
  t.teardown(() => made.disconnect())
  return made
}

/** Waits until a condition holds. The test runner's timeout bounds the wait. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds()));
}

async function redisCheck(of: Service): Promise<string> {
  const { status, json } = await of.call('GET', '/readyz')
  return status === 200 ? json.checks.redis : 'unready'
}

const hold = (tenantId: string, usd: number, of = service) =>
  of.call('POST', '/v1/reservations', { resource_type: 'llm', tenant_id: tenantId, estimated_cost_usd: usd })

const settle = ({ json }: Answer, verb: 'commit' | 'release', body: object) =>
  service.call('POST', `/v1/reservations/${json.reservation_id}/${verb}`, body)

/** The tenant's day quota, and the moment of the answer. */
async function readDay(tenantId: string, headers: Record<string, string> = {}, of = service) {
  const { status, json } = await of.call('GET', `/v1/quotas/status?tenant_id=${tenantId}`, undefined, headers)
  const row = json.data?.find((one: Record<string, unknown>) => one['resource_type'] === 'llm')
  return { status, asOf: json.as_of, limit: row?.limit_usd, reserved: row?.reserved_usd, spent: row?.spent_usd }
}

/** Asserts that reserve, status, commit and the probes work. */
async function assertWorking(t: Test, of: Service, tenantId: string): Promise<void> {
  const held = await of.call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: tenantId,
    llm: { ...CALL, model: MODEL },
  })
  t.equal(held.status, 201)
  t.match(await readDay(tenantId, {}, of), { status: 200, reserved: held.json.reserved_usd, spent: 0 })
  const committed = await of.call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
    actual_cost_usd: 0.01,
  })
  t.match(committed, { status: 200, json: { cost_usd: 0.01 } })
  t.match(await readDay(tenantId, {}, of), { status: 200, reserved: 0, spent: 0.01 })
  t.match(await of.call('GET', '/healthz'), { status: 200, json: { status: 'ok' } })
}

t.test('a status is read from Postgres once, then from Redis until something is written', async (t) => {
  await hold('cached', 1)
  const first = await readDay('cached')
  t.match(first, { reserved: 1, spent: 0 })
  await hold('cached', 1, apart)
  t.same(await readDay('cached'), first, 'the cached status does not show yet what an instance without Redis did')
  t.ok((await client.ttl(statusKey('cached', ''))) <= 30)

  t.match(await readDay('cached', { 'cache-control': 'no-cache' }), { reserved: 2 }, 'no-cache asks Postgres')
  t.match(await readDay('cached'), { reserved: 2 }, 'what the fresh read found is cached from then on')
})

t.test('a reserve, a commit and a release drop the cached status that they change', async (t) => {
  const first = await hold('dropped', 2)
  t.match(await readDay('dropped'), { reserved: 2, spent: 0 })
  const second = await hold('dropped', 3)
  t.match(await readDay('dropped'), { reserved: 5, spent: 0 })
  await settle(first, 'commit', { actual_cost_usd: 1.5 })
  t.match(await readDay('dropped'), { reserved: 3, spent: 1.5 })
  await settle(second, 'release', {})
  t.match(await readDay('dropped'), { reserved: 0, spent: 1.5 })
})

t.test('a quota change drops the cached status of its scope', async (t) => {
  await hold('changed', 1)
  t.match(await readDay('changed'), { limit: 50 })
  const quota = { scope: 'tenant', tenant_id: 'changed', resource_type: 'llm', period: 'day', limit_usd: 7 }
  t.equal((await service.call('PUT', '/v1/quotas', quota)).status, 200)
  t.match(await readDay('changed'), { limit: 7, reserved: 1 })
})

t.test('a status read before an administrator’s change and cached after it is ignored', async (t) => {
  const other = await startService(t, database.url, { REDIS_URL: redis.url })
  await until(async () => (await redisCheck(other)) === 'up')
  await hold('overtaken', 1)
  await readDay('overtaken', { 'cache-control': 'no-cache' })
  const old = (await client.get(statusKey('overtaken', '')))!
  const quota = { scope: 'tenant', tenant_id: 'overtaken', resource_type: 'llm', period: 'day' }
  const { json } = await service.call('PUT', '/v1/quotas', { ...quota, limit_usd: 7 })
  await client.set(statusKey('overtaken', ''), old, 'EX', 30)
  t.match(await readDay('overtaken', {}, other), { limit: 7 })
  await other.call('PATCH', `/v1/quotas/${json.quota_id}`, { limit_usd: 8 })
  t.match(await readDay('overtaken'), { limit: 8 })
  await other.call('DELETE', `/v1/quotas/${json.quota_id}`)
  t.match(await readDay('overtaken'), { limit: undefined })
  t.equal((await service.call('PUT', '/v1/quotas/bulk', { quotas: [{ ...quota, limit_usd: 9 }] })).status, 200)
  t.match(await readDay('overtaken', {}, other), { limit: 9, reserved: 1 })
})

t.test('a changed default drops the cached statuses of its scopes', async (t) => {
  const held = await hold('by-default', 1)
  t.match(await readDay('by-default'), { limit: 50 })
  const byDefault = { scope: 'tenant', resource_type: 'llm', period: 'day' }
  await service.call('PUT', '/v1/quota-defaults', { ...byDefault, limit_usd: 40 })
  t.match(await readDay('by-default'), { limit: 40, reserved: 1 })
  await service.call('PUT', '/v1/quota-defaults', { ...byDefault, limit_usd: 50 })
  await settle(held, 'release', {})
})

t.test('prices are kept in Redis, for an hour at most', async (t) => {
  t.equal((await service.call('POST', '/v1/estimates', estimateOf(MODEL))).status, 200)
  await until(async () => (await client.exists(priceKey(MODEL))) === 1)
  const seconds = await client.ttl(priceKey(MODEL))
  t.ok(seconds > 0 && seconds <= 3_600, `${seconds} s`)
})

const estimateOf = (model: string) => ({ resource_type: 'llm', llm: { ...CALL, model } })

/** The price of a model in Redis, after an instance has asked Postgres. */
async function storedPrice(model: string): Promise<string> {
  await service.call('POST', '/v1/estimates', estimateOf(model))
  await until(async () => (await client.exists(priceKey(model))) === 1)
  return (await client.get(priceKey(model)))!
}

t.test('a forged price in Redis never changes an amount, however well formed', async (t) => {
  const stored = await storedPrice(MODEL)
  const other = await storedPrice('gpt-4o-mini')
  const json = stored.slice(stored.indexOf('[{'))
  const free = json.replace(/("(?:input|output)" ?: ?)"?[\d.]+"?/g, '$1"0"')
  t.not(free, json, 'the forged price differs from the true one')
  const honest = (await apart.call('POST', '/v1/estimates', estimateOf(MODEL))).json
  t.ok(honest.cost_usd > 0)
  const { version } = createRequire(import.meta.url)('../../../package.json') as { version: string }
  const poisons = {
    'a forged price, sealed by somebody who knows the release and DATABASE_URL': sealWith(
      `${version} ${database.url}`,
    ).close(priceKey(MODEL), free, 600),
    'no JSON': '\u0000{[',
    'JSON of another form': '{"price":1}',
    'an empty list': '[]',
    'versions without rates': '[{"priceId":"1","effectiveDate":"2020-01-01T00:00:00Z"}]',
    'a forged price': free,
    'a forged price under the true signature': stored.replace(json, free),
    'the true price of another model': other,
    'a true price that was cut short': stored.slice(0, -1),
  }
  for (const [name, poison] of Object.entries(poisons)) {
    await t.test(name, async (t) => {
      await client.set(priceKey(MODEL), poison, 'EX', 600)
      // A new instance has cached no price yet, so it reads Redis first.
      const fresh = await startService(t, database.url, { REDIS_URL: redis.url })
      await until(async () => (await redisCheck(fresh)) === 'up')
      const estimated = await fresh.call('POST', '/v1/estimates', estimateOf(MODEL))
      t.equal(estimated.status, 200)
      t.same(estimated.json, honest)
      const held = await fresh.call('POST', '/v1/reservations', { ...estimateOf(MODEL), tenant_id: 'poisoned' })
      t.match(held, { status: 201, json: { reserved_usd: honest.cost_usd, price_id: honest.price_id } })
    })
  }
  await assertHealthy(t, database.pool)
})

t.test('an instance uses the price that another instance on the same database cached', async (t) => {
  const stored = await storedPrice(MODEL)
  const fresh = await startService(t, database.url, { REDIS_URL: redis.url })
  await until(async () => (await redisCheck(fresh)) === 'up')
  const estimated = await fresh.call('POST', '/v1/estimates', estimateOf(MODEL))
  t.same(estimated.json, (await apart.call('POST', '/v1/estimates', estimateOf(MODEL))).json)
  t.equal(await client.get(priceKey(MODEL)), stored, 'the price was not read from Postgres and stored again')
})

t.test('a flushed Redis loses nothing, and the next request caches prices again', async (t) => {
  await hold('flushed', 1)
  const honest = await service.call('POST', '/v1/estimates', estimateOf(MODEL))
  await client.flushall()
  t.match(await readDay('flushed'), { status: 200, reserved: 1 })
  t.same((await service.call('POST', '/v1/estimates', estimateOf(MODEL))).json, honest.json)
  const fresh = await startService(t, database.url, { REDIS_URL: redis.url })
  await until(async () => (await redisCheck(fresh)) === 'up')
  t.same((await fresh.call('POST', '/v1/estimates', estimateOf(MODEL))).json, honest.json)
  await until(async () => (await client.exists(priceKey(MODEL))) === 1)
  t.equal((await hold('flushed', 1)).status, 201)
  t.match(await readDay('flushed'), { reserved: 2 })
})

t.test('a status in Redis is used only if an instance stored it there', async (t) => {
  await hold('forged', 1)
  const honest = await readDay('forged')
  await readDay('another')
  const stored = (await client.get(statusKey('forged', '')))!
  const poisons = [
    'rubbish',
    '[]',
    'null',
    '{"asOf":"never","quotas":[{}]}',
    stored.slice(stored.indexOf('{')).replaceAll('"1"', '"0"'),
    stored.replace(/"limit_usd": ?"50/, '"limit_usd":"99'),
    (await client.get(statusKey('another', '')))!,
  ]
  for (const poison of poisons) {
    t.not(poison, stored)
    await client.set(statusKey('forged', ''), poison, 'EX', 600)
    await client.set(statusKey('', ''), poison, 'EX', 600)
    const { asOf: _, ...amounts } = honest
    t.match(await readDay('forged'), amounts)
  }
})

t.test('the service works without a hanging Redis, and uses it again when it recovers', async (t) => {
  await hold('hangs', 1)
  process.kill(redis.pid, 'SIGSTOP')
  t.teardown(() => process.kill(redis.pid, 'SIGCONT'))
  t.equal((await hold('hangs', 1)).status, 201)
  t.match(await readDay('hangs'), { status: 200, reserved: 2 })
  await assertWorking(t, service, 'hangs-too')
  process.kill(redis.pid, 'SIGCONT')
  await until(async () => (await redisCheck(service)) === 'up')
  await assertWorking(t, service, 'hung')
})

t.test('the service works without a stopped Redis, and uses it again once it is back', async (t) => {
  await hold('outage', 1)
  t.match(await readDay('outage'), { reserved: 1 })
  await redis.kill()
  await until(async () => (await redisCheck(service)) === 'down')
  t.match(await service.call('GET', '/readyz'), {
    status: 200,
    json: { status: 'ready', checks: { postgres: 'up', redis: 'down' } },
  })
  await assertWorking(t, service, 'meanwhile')
  t.equal((await hold('outage', 1)).status, 201)
  t.match(await readDay('outage'), { reserved: 2 })

  const back = await startRedis(t, Number(new URL(redis.url).port))
  await until(async () => (await redisCheck(service)) === 'up')
  await assertWorking(t, service, 'afterwards')
  t.match(await readDay('outage'), { reserved: 2 })
  const reader = openClient(t, back.url)
  await until(async () => (await reader.exists(statusKey('outage', ''))) === 1)
  await assertHealthy(t, database.pool)
})

t.test('without REDIS_URL everything works, and the probe says why Redis is missing', async (t) => {
  t.equal(await redisCheck(apart), 'not configured')
  await assertWorking(t, apart, 'alone')
})

t.test('the service starts and works if Redis was never reachable', async (t) => {
  const closed = await startService(t, database.url, { REDIS_URL: `redis://127.0.0.1:${await findFreePort()}` })
  t.equal(await redisCheck(closed), 'down')
  await assertWorking(t, closed, 'closed')
})
