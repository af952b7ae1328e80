import { SignJWT } from 'jose'
import t from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { startRedis } from '../helpers/servers/redis.ts'
import { startService, type Service } from '../helpers/servers/service.ts'

const database = await createDatabase(t)
const JWT_SECRET = 'a-shared-secret-of-at-least-32-characters'

const wrong = (service: Service) =>
  service.call('GET', '/v1/quotas', undefined, { authorization: `Bearer ${'x'.repeat(40)}` })

async function statuses(times: number, call: () => Promise<{ status: number }>): Promise<Record<number, number>> {
  const counted: Record<number, number> = {}
  for (let i = 0; i < times; i += 1) {
    const { status } = await call()
    counted[status] = (counted[status] ?? 0) + 1
  }
  return counted
}

t.test('after 30 wrong keys a minute an address gets 429, but a right key is still accepted', async (t) => {
  const service = await startService(t, database.url)
  t.same(await statuses(33, () => wrong(service)), { 401: 30, 429: 3 })
  const answer = await wrong(service)
  t.match(answer.json, { code: 'rate_limited', detail: /^More than 30 wrong keys/ })
  t.match(answer.headers.get('retry-after'), /^[1-9][0-9]?$/)
  t.equal((await service.call('GET', '/v1/quotas')).status, 200)
})

t.test('guessed keys do not take the connections that commits need', async (t) => {
  const service = await startService(t, database.url, { PURSER_JWT_SECRET: JWT_SECRET })
  const token = await new SignJWT({
    sub: 'caller',
    app_metadata: { role: 'admin' },
    exp: Math.ceil(Date.now() / 1_000) + 600,
  })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(JWT_SECRET))
  const authorization = `Bearer ${token}`
  const body = { resource_type: 'llm', tenant_id: 'settling', estimated_cost_usd: 1 }
  const { json } = await service.call('POST', '/v1/reservations', body, { authorization })
  const client = await database.pool.connect()
  t.teardown(() => client.release())
  await client.query('begin; lock table copilot_internal.api_key_hashes in access exclusive mode')
  const guesses = Array.from({ length: 20 }, (_, n) =>
    service.call('GET', '/v1/quotas', undefined, { authorization: `Bearer ${'x'.repeat(40)}${n}` }),
  )
  for (let waiting = 0; waiting < 2;) {
    const { rows } = await client.query<{ n: number }>('select count(*)::integer as n from pg_locks where not granted')
    waiting = rows[0]!.n
  }
  const path = `/v1/reservations/${json.reservation_id}/commit`
  t.equal((await service.call('POST', path, { actual_cost_usd: 1 }, { authorization })).status, 200)
  await client.query('rollback')
  for (const { status } of await Promise.all(guesses)) t.ok([401, 503].includes(status), String(status))
})

t.test('only PURSER_TRUSTED_PROXIES may state a caller’s address', async (t) => {
  const from = (service: Service, address: string) =>
    service.call('GET', '/v1/quotas', undefined, {
      authorization: `Bearer ${'x'.repeat(40)}`,
      'x-forwarded-for': address,
    })
  let n = 0
  const fromMany = (service: Service) => () => from(service, `10.0.0.${(n += 1)}`)
  const open = await startService(t, database.url)
  t.same(await statuses(33, fromMany(open)), { 401: 30, 429: 3 }, 'no proxy is trusted')
  const elsewhere = await startService(t, database.url, { PURSER_TRUSTED_PROXIES: '192.0.2.0/24' })
  t.same(await statuses(33, fromMany(elsewhere)), { 401: 30, 429: 3 }, 'only another proxy is trusted')
  const behind = await startService(t, database.url, { PURSER_TRUSTED_PROXIES: '127.0.0.1' })
  t.same(await statuses(33, fromMany(behind)), { 401: 33 })
  t.same(await statuses(33, () => from(behind, '198.51.100.7, 10.9.9.9')), { 401: 30, 429: 3 }, 'the last hop counts')
})

t.test('a body that cannot be parsed counts as a request', async (t) => {
  const service = await startService(t, database.url, { PURSER_RATE_LIMIT_DECISIONS: '9' })
  const key = await service.keyFor('service')
  const xml = { ...key, 'content-type': 'application/xml' }
  const bodies: [body: string, headers: Record<string, string>, status: number][] = [
    ['{', key, 400],
    ['['.repeat(1_000_000), key, 400],
    ['x'.repeat(2_000_000), key, 413],
    ['<a/>', xml, 415],
  ]
  for (let n = 0; n < 9; n += 1) {
    const [body, headers, status] = bodies[n % bodies.length]!
    t.equal((await service.call('POST', '/v1/reservations', body, headers)).status, status)
  }
  for (const [body, headers] of bodies) {
    const answer = await service.call('POST', '/v1/reservations', body, headers)
    t.match(answer, { status: 429, json: { code: 'rate_limited' } })
  }
})

t.test('the routes of a group share its limit, in one process and across several', async (t) => {
  const redis = await startRedis(t)
  const settings = { PURSER_RATE_LIMIT_READS: '10', REDIS_URL: redis.url }
  const [one, two] = [await startService(t, database.url, settings), await startService(t, database.url, settings)]
  for (const instance of [one, two]) {
    while ((await instance.call('GET', '/readyz')).json.checks.redis !== 'up');
  }
  const key = await one.keyFor('viewer')
  const paths = ['/v1/quotas', '/v1/cost-records', '/v1/costs', '/v1/events']
  let n = 0
  const read = () => {
    n += 1
    return (n % 2 === 0 ? one : two).call('GET', paths[n % paths.length]!, undefined, key)
  }
  t.same(await statuses(14, read), { 200: 10, 429: 4 })

  process.kill(redis.pid, 'SIGSTOP')
  const meanwhile = await two.keyFor('viewer')
  t.same(
    await statuses(12, () => two.call('GET', '/v1/quotas', undefined, meanwhile)),
    { 200: 10, 429: 2 },
    'a request does not wait for a hanging Redis',
  )

  await redis.kill()
  const other = await two.keyFor('viewer')
  t.same(
    await statuses(12, () => two.call('GET', '/v1/quotas', undefined, other)),
    { 200: 10, 429: 2 },
    'without Redis each instance counts by itself, neither unlimited nor down',
  )
  const late = await startService(t, database.url, settings)
  t.same(
    await statuses(12, () => late.call('GET', '/v1/quotas', undefined, other)),
    { 200: 10, 429: 2 },
    'an instance that never reached Redis counts too',
  )
})
