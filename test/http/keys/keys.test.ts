import { crc32 } from 'node:zlib'
import t from 'tap'
import { connect } from '../../../src/db/pool/connection.ts'
import { bootstrapAdminKey } from '../../../src/services/keys/api-keys.ts'
import { createDatabase } from '../../helpers/database.ts'
import { ADMIN_KEY, spawnService, startService, type Service } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)

t.test('a key is shown once and kept as a hash', async (t) => {
  const made = await service.call('POST', '/v1/api-keys', { name: 'chat', role: 'service' })
  t.equal(made.status, 201)
  t.match(made.json.key, /^psr_[A-Za-z0-9_-]{43}[0-9a-f]{8}$/)
  t.match(made.json, { name: 'chat', role: 'service', tenant_id: null, revoked_at: null })
  const list = await service.call('GET', '/v1/api-keys')
  t.notMatch(list.text, made.json.key)
  t.ok(list.json.data.some((key: { key_id: string }) => key.key_id === made.json.key_id))
  const { rows } = await database.pool.query(
    `select * from copilot_internal.api_keys k join copilot_internal.api_key_hashes h using (key_id)`,
  )
  t.notMatch(JSON.stringify(rows), made.json.key)
  t.notMatch(JSON.stringify(rows), ADMIN_KEY)
})

t.test('a revoked key works for at most one more second', async (t) => {
  const made = await service.call('POST', '/v1/api-keys', { name: 'gone', role: 'viewer' })
  const headers = { authorization: `Bearer ${made.json.key}` }
  t.equal((await service.call('GET', '/v1/quotas', undefined, headers)).status, 200)
  t.equal((await service.call('DELETE', `/v1/api-keys/${made.json.key_id}`)).status, 204)
  const begun = Date.now()
  while ((await service.call('GET', '/v1/quotas', undefined, headers)).status === 200) {
    if (Date.now() - begun > 5_000) break
  }
  t.equal((await service.call('GET', '/v1/quotas', undefined, headers)).status, 401)
  t.equal((await service.call('DELETE', '/v1/api-keys/01980000-0000-7000-8000-000000000000')).status, 404)
})

t.test('a revoked key is refused by every instance a second after the revocation was answered', async (t) => {
  const others = [await startService(t, database.url), await startService(t, database.url)]
  const made = await service.call('POST', '/v1/api-keys', { name: 'gone everywhere', role: 'viewer' })
  const headers = { authorization: `Bearer ${made.json.key}` }
  for (const instance of others) t.equal((await instance.call('GET', '/v1/quotas', undefined, headers)).status, 200)
  await service.call('DELETE', `/v1/api-keys/${made.json.key_id}`)
  const revokedAt = performance.now()
  for (const instance of others) {
    for (;;) {
      const sentAt = performance.now()
      const { status } = await instance.call('GET', '/v1/quotas', undefined, headers)
      if (status === 401) break
      t.ok(status === 200 && sentAt - revokedAt <= 1_000, `${status} after ${sentAt - revokedAt} ms`)
      if (status !== 200) break
    }
  }
})

t.test('an expired key is refused, and a key before its expiry is accepted', async (t) => {
  const now = Date.now()
  const make = async (expiresAt: number) =>
    (
      await service.call('POST', '/v1/api-keys', {
        name: 'n',
        role: 'viewer',
        expires_at: new Date(expiresAt).toISOString(),
      })
    ).json
  const status = async (key: string) =>
    (await service.call('GET', '/v1/quotas', undefined, { authorization: `Bearer ${key}` })).status
  t.equal(await status((await make(now - 1_000)).key), 401)
  t.equal(await status((await make(now + 600_000)).key), 200)
})

t.test('a key is recognised by its checksum and compared by its whole hash', async (t) => {
  const { key } = (await service.call('POST', '/v1/api-keys', { name: 'n', role: 'viewer' })).json
  t.equal(crc32(key.slice(0, -8)).toString(16).padStart(8, '0'), key.slice(-8))
  const wrong = [
    key.slice(0, -1),
    `${key}0`,
    key.toUpperCase(),
    key.replace(/.$/, key.endsWith('0') ? '1' : '0'),
    key.slice(4),
  ]
  for (const one of wrong) {
    t.equal((await service.call('GET', '/v1/quotas', undefined, { authorization: `Bearer ${one}` })).status, 401, one)
  }
  for (const malformed of ['', 'Bearer', 'Bearer ', `Basic ${key}`, `Bearer ${key} ${key}`, `Bearer\t${key}`, key]) {
    t.equal((await service.call('GET', '/v1/quotas', undefined, { authorization: malformed })).status, 401, malformed)
  }
})

t.test('a rotated key has two secrets during the overlap and stays the same principal', async (t) => {
  const made = await service.call('POST', '/v1/api-keys', { name: 'rotating', role: 'service', tenant_id: 'rotate' })
  const rotate = (body?: object) => service.call('POST', `/v1/api-keys/${made.json.key_id}/rotate`, body)
  t.match(await rotate(), { status: 200, json: { key: /^psr_/ } }, 'without a body the default overlap applies')
  const holdWith = (key: string) =>
    service.call(
      'POST',
      '/v1/reservations',
      { resource_type: 'llm', estimated_cost_usd: 1 },
      { authorization: `Bearer ${key}`, 'idempotency-key': 'over-the-rotation' },
    )
  const first = await holdWith(made.json.key)
  const rotated = await rotate({ overlap_seconds: 600 })
  t.match(rotated, { status: 200, json: { key_id: made.json.key_id, key: /^psr_/, name: 'rotating' } })
  t.not(rotated.json.key, made.json.key)
  for (const key of [made.json.key, rotated.json.key]) {
    t.equal((await holdWith(key)).json.reservation_id, first.json.reservation_id)
  }
  const last = await rotate({ overlap_seconds: 0 })
  const begun = Date.now()
  while ((await holdWith(rotated.json.key)).status === 201 && Date.now() - begun < 5_000);
  t.equal((await holdWith(rotated.json.key)).status, 401, 'without an overlap the previous secret has ended')
  t.equal((await holdWith(made.json.key)).status, 401, 'no rotation extends an older secret')
  t.equal((await holdWith(last.json.key)).status, 201)
  const { json } = await service.call('GET', '/v1/api-keys?limit=1000')
  const listed = json.data.find((key: { key_id: string }) => key.key_id === made.json.key_id)
  t.match(listed, { last_used_at: String, prefix: last.json.key.slice(0, 12) })
  await service.call('DELETE', `/v1/api-keys/${made.json.key_id}`)
  t.equal((await rotate({})).status, 404)
  t.equal((await rotate({ overlap_seconds: -1 })).status, 400)
})

t.test('a bound key acts only for its tenant', async (t) => {
  const acme = await service.keyFor('service', 'acme')
  const other = await service.keyFor('service', 'other')
  const body = { resource_type: 'llm', estimated_cost_usd: 1 }
  const held = await service.call('POST', '/v1/reservations', body, acme)
  t.match(held, { status: 201, json: { tenant_id: 'acme' } }, 'the tenant is optional')
  t.match(await service.call('POST', '/v1/reservations', { ...body, tenant_id: 'other' }, acme), {
    status: 403,
    json: { code: 'forbidden' },
  })
  const path = `/v1/reservations/${held.json.reservation_id}`
  t.equal((await service.call('GET', path, undefined, other)).status, 404)
  t.equal((await service.call('POST', `${path}/commit`, { actual_cost_usd: 1 }, other)).status, 404)
  t.equal((await service.call('POST', `${path}/release`, {}, other)).status, 404)
  t.match((await service.call('GET', path, undefined, acme)).json, { status: 'reserved' })
  t.equal((await service.call('GET', '/v1/quotas?tenant_id=other', undefined, acme)).status, 403)
  t.equal((await service.call('GET', '/v1/quotas/status?tenant_id=other', undefined, acme)).status, 403)
})

t.test('a bound key sees a platform quota without its amounts', async (t) => {
  await service.call('PUT', '/v1/quotas', { scope: 'platform', period: 'day', limit_usd: 5, resource_type: 'e2b' })
  const bound = await service.keyFor('service', 'small')
  const held = await service.call('POST', '/v1/reservations', { resource_type: 'e2b', estimated_cost_usd: 1 }, bound)
  const platform = held.json.quotas.find((quota: { scope: string }) => quota.scope === 'platform')
  t.match(platform, { limit_usd: null, spent_usd: null, reserved_usd: null, remaining_usd: null, reset_at: String })
  const refused = await service.call('POST', '/v1/reservations', { resource_type: 'e2b', estimated_cost_usd: 6 }, bound)
  t.match(refused, {
    status: 429,
    json: { scope: 'platform', current_spend_usd: null, limit_usd: null, overage_usd: null },
  })
  t.notMatch(refused.text, /"(limit|spent)_usd":5/)
  t.equal(refused.headers.get('ratelimit'), null)
})

t.test('a viewer can read but change nothing', async (t) => {
  const viewer = await service.keyFor('viewer')
  t.equal((await service.call('GET', '/v1/quotas/status', undefined, viewer)).status, 200)
  t.equal(
    (
      await service.call(
        'POST',
        '/v1/reservations',
        { resource_type: 'llm', tenant_id: 'x', estimated_cost_usd: 1 },
        viewer,
      )
    ).status,
    403,
  )
  t.equal((await service.call('GET', '/v1/api-keys', undefined, viewer)).status, 403)
})

t.test('requests above a key’s rate limit get their own 429 problem', async (t) => {
  const strict = await startService(t, database.url, { PURSER_RATE_LIMIT_READS: '3' })
  const one = await strict.keyFor('viewer')
  const two = await strict.keyFor('viewer')
  const statuses = []
  for (let n = 0; n < 5; n += 1) statuses.push((await strict.call('GET', '/v1/quotas', undefined, one)).status)
  t.same(statuses, [200, 200, 200, 429, 429])
  const limited = await strict.call('GET', '/v1/quotas', undefined, one)
  t.match(limited.json, { code: 'rate_limited', type: '/problems/rate-limited', status: 429 })
  t.ok(Number(limited.headers.get('retry-after')) > 0)
  t.equal((await strict.call('GET', '/v1/quotas', undefined, two)).status, 200, 'another key has its own limit')
  t.equal((await strict.call('GET', '/healthz')).status, 200)
})

t.test('concurrent starts with one PURSER_ADMIN_KEY make one key', async (t) => {
  const { url, pool } = await createDatabase(t)
  const own = await startService(t, url)
  const dbs = Array.from({ length: 8 }, () => connect(url, { connectionsMax: 1 }))
  t.teardown(() => Promise.all(dbs.map((db) => db.destroy())))
  const setting = 'one-setting-of-many-starts'
  await Promise.all(dbs.map((db) => bootstrapAdminKey({ db }, setting)))
  const { rows } = await pool.query(
    `select count(*)::integer as keys from copilot_internal.api_key_hashes where key_hash = sha256($1)`,
    [setting],
  )
  t.same(rows, [{ keys: 1 }])
  t.equal((await own.call('GET', '/v1/quotas', undefined, { authorization: `Bearer ${setting}` })).status, 200)
})

t.test('a new PURSER_ADMIN_KEY revokes the previous one, and no later start restores it', async (t) => {
  const { url, pool } = await createDatabase(t)
  const [first, second] = ['first-admin-key-0123456789', 'second-admin-key-0123456789']
  const start = (key: string) => startService(t, url, { PURSER_ADMIN_KEY: key })
  const as = (key: string) => ({ authorization: `Bearer ${key}` })
  const old = await start(first)
  const other = await old.call('POST', '/v1/api-keys', { name: 'other', role: 'admin' }, as(first))
  t.equal(other.status, 201)
  const plain = await old.call('POST', '/v1/api-keys', { name: 'plain', role: 'service' }, as(first))

  const changed = await start(second)
  t.match(changed.output(), /PURSER_ADMIN_KEY has changed: its former key, [0-9a-f-]{36}, is revoked/)
  const statusOf = async (service: Service, key: string) =>
    (await service.call('GET', '/v1/api-keys', undefined, as(key))).status
  t.equal(await statusOf(changed, first), 401)
  // An instance caches a valid key for a second.
  while ((await statusOf(old, first)) !== 401);
  t.equal(await statusOf(old, second), 200)
  t.equal(await statusOf(changed, other.json.key as string), 200, 'a key made by an administrator stays')
  const revoked = async () =>
    (
      await pool.query(
        `select principal, before ->> 'name' as name from copilot_internal.audit_log where action = 'api_key.revoke'`,
      )
    ).rows
  t.same(await revoked(), [{ principal: 'setting:PURSER_ADMIN_KEY', name: 'bootstrap admin' }])

  for (const key of [first, plain.json.key as string]) {
    const again = await start(key)
    t.match(again.output(), /PURSER_ADMIN_KEY is no valid key of an administrator/)
    t.not(await statusOf(again, key), 200)
    t.equal(await statusOf(again, second), 200)
    await again.stop()
  }
  const without = await spawnService({ DATABASE_URL: url })
  t.teardown(() => without.stop())
  t.notMatch(without.output(), /PURSER_ADMIN_KEY (?:is|has)/)
  t.equal(await statusOf(without, second), 200)
  t.equal((await revoked()).length, 1)
})
