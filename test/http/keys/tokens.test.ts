import { exportJWK, generateKeyPair, SignJWT, type JWTPayload } from 'jose'
import { createHmac } from 'node:crypto'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { startService, type Service } from '../../helpers/servers/service.ts'

const SECRET = 'a-shared-secret-of-at-least-32-characters'
const ISSUER = 'https://issuer.example/auth/v1'
const database = await createDatabase(t)

const now = () => Math.floor(Date.now() / 1000)
const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

function claims(more: JWTPayload): JWTPayload {
  return { sub: 'u-1', iss: ISSUER, aud: 'authenticated', exp: now() + 600, ...more }
}

const signed = (payload: JWTPayload, secret = SECRET) =>
  new SignJWT(payload).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(secret))

/** Signs claims of any type, because SignJWT takes only valid ones. */
function signedRaw(payload: unknown): string {
  const text = `${base64({ alg: 'HS256' })}.${Buffer.from(JSON.stringify(payload)).toString('base64url')}`
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`
}

async function statusWith(service: Service, token: string, path = '/v1/quotas/status'): Promise<number> {
  const { status } = await service.call('GET', path, undefined, { authorization: `Bearer ${token}` })
  return status
}

t.test('tokens signed with a shared secret, as Supabase issues them', async (t) => {
  const settings = {
    PURSER_JWT_SECRET: SECRET,
    PURSER_JWT_ISSUER: ISSUER,
    PURSER_JWT_AUDIENCE: 'authenticated',
  }
  const service = await startService(t, database.url, settings)
  const bound = claims({ role: 'authenticated', app_metadata: { tenant_id: 'acme', role: 'service' } })

  t.test('have the tenant and role of their claims', async (t) => {
    const authorization = `Bearer ${await signed(bound)}`
    const held = await service.call(
      'POST',
      '/v1/reservations',
      { resource_type: 'llm', estimated_cost_usd: 1 },
      { authorization },
    )
    t.match(held, { status: 201, json: { tenant_id: 'acme' } })
    t.equal(await statusWith(service, await signed(bound), '/v1/quotas/status?tenant_id=other'), 403)
    t.equal(await statusWith(service, await signed(bound), '/v1/api-keys'), 403)
  })

  t.test('of one subject have idempotency keys for each tenant, whether bound to it or naming it', async (t) => {
    const as = async (tenantId: string | null) => ({
      authorization: `Bearer ${await signed(claims({ app_metadata: { tenant_id: tenantId, role: 'service' } }))}`,
      'idempotency-key': 'shared',
    })
    const body = { resource_type: 'llm', estimated_cost_usd: 1 }
    const first = { ...body, tenant_id: 'first' }
    const reserve = async (one: object, tenantId: string | null) =>
      service.call('POST', '/v1/reservations', one, await as(tenantId))
    // Concurrently, so that the two share a batch.
    const [held, other] = await Promise.all([reserve(body, 'first'), reserve({ ...body, tenant_id: 'second' }, null)])
    t.match(held, { status: 201, json: { tenant_id: 'first' } })
    t.match(other, { status: 201, json: { tenant_id: 'second' } })
    for (const [tenantId, id] of [
      ['first', held.json.reservation_id],
      ['second', other.json.reservation_id],
    ]) {
      for (const [one, bound] of [
        [body, tenantId],
        [{ ...body, tenant_id: tenantId }, tenantId],
        [{ ...body, tenant_id: tenantId }, null],
      ]) {
        const again = await reserve(one, bound)
        t.equal(again.json.reservation_id, id, 'the same request, whether the token or the body names the tenant')
        t.equal(again.headers.get('idempotency-replayed'), 'true')
      }
    }
    const changed = await reserve({ ...first, estimated_cost_usd: 2 }, null)
    t.match(changed, { status: 422, json: { code: 'idempotency_mismatch' } })

    const spent = { resource_type: 'llm', cost_usd: 1, idempotency_key: 'call' }
    const record = async (records: object[], tenantId: string | null) =>
      service.call('POST', '/v1/cost-records', { records }, await as(tenantId))
    const both = await record(
      [
        { ...spent, tenant_id: 'second' },
        { ...spent, tenant_id: 'first' },
      ],
      null,
    )
    t.match(both, { status: 201, json: { data: [{ replayed: false }, { replayed: false }] } })
    for (const [n, tenantId] of ['second', 'first'].entries()) {
      t.match(await record([spent], tenantId), {
        status: 201,
        json: { data: [{ replayed: true, cost_record_id: both.json.data[n].cost_record_id }] },
      })
    }
    t.equal((await record([{ ...spent, cost_usd: 2 }], 'first')).status, 422)
  })

  t.test('without a role are viewers of their tenant, and without a role and tenant are refused', async (t) => {
    const viewer = await signed(claims({ role: 'authenticated', app_metadata: { tenant_id: 'acme' } }))
    t.equal(await statusWith(service, viewer), 200)
    const body = { resource_type: 'llm', estimated_cost_usd: 1 }
    t.equal((await service.call('POST', '/v1/reservations', body, { authorization: `Bearer ${viewer}` })).status, 403)
    t.equal(await statusWith(service, await signed(claims({ role: 'authenticated' }))), 401)
    t.equal(
      await statusWith(service, await signed(claims({ app_metadata: { role: 'admin', tenant_id: 'acme' } }))),
      401,
    )
    t.equal(await statusWith(service, await signed(claims({ app_metadata: { role: 'admin' } })), '/v1/api-keys'), 200)
    t.equal(
      await statusWith(service, await signed(claims({ user_metadata: { role: 'admin', tenant_id: 'acme' } }))),
      401,
      'user_metadata, which users can edit, is ignored',
    )
  })

  t.test('with a tenant or subject that is not a valid id are refused, never treated as unbound', async (t) => {
    const named = (tenant: unknown) => claims({ app_metadata: { role: 'service', tenant_id: tenant } })
    for (const tenant of [7, '', ['acme'], { id: 'acme' }, true, 'x'.repeat(201), 'a\u0000b', 'someone@example.com']) {
      t.equal(await statusWith(service, await signed(named(tenant))), 401, JSON.stringify(tenant))
    }
    t.equal(await statusWith(service, await signed(named('acme'))), 200)
    t.equal(await statusWith(service, await signed(named(null))), 200, 'null counts as absent')
    const longest = '🦄'.repeat(200)
    t.equal(await statusWith(service, await signed({ ...bound, sub: longest })), 200)
    for (const sub of [
      'someone@example.com',
      `${longest}x`,
      'a\nb',
      '',
      null,
      7,
      0,
      true,
      [],
      ['u-1'],
      {},
      { id: 'u-1' },
    ])
      t.equal(await statusWith(service, signedRaw({ ...bound, sub })), 401, JSON.stringify(sub))
    const allowing = await startService(t, database.url, { PURSER_JWT_SECRET: SECRET, PURSER_ALLOW_EMAIL_IDS: '1' })
    t.equal(await statusWith(allowing, await signed({ ...bound, sub: 'someone@example.com' })), 200)
  })

  t.test('are refused if their signature, time or any claim is wrong', async (t) => {
    // After 30 refusals a minute an instance answers 429.
    const service = await startService(t, database.url, settings)
    const header = base64({ alg: 'none', typ: 'JWT' })
    const wrong: Record<string, string> = {
      'another secret': await signed(bound, 'another-secret-of-at-least-32-characters'),
      expired: await signed({ ...bound, exp: now() - 31 }),
      'an expiry that is no number': signedRaw({ ...bound, exp: String(now() + 600) }),
      'an expiry of null': signedRaw({ ...bound, exp: null }),
      'a start that is no number': signedRaw({ ...bound, nbf: {} }),
      'an issuer in a list': signedRaw({ ...bound, iss: [ISSUER] }),
      'an audience that is an object': signedRaw({ ...bound, aud: { authenticated: true } }),
      'a role that is a list': signedRaw({ ...bound, app_metadata: { tenant_id: 'acme', role: ['service'] } }),
      'claims that are a list': signedRaw([bound]),
      'claims that are null': signedRaw(null),
      'not yet valid': await signed({ ...bound, nbf: now() + 60 }),
      'another issuer': await signed({ ...bound, iss: 'https://elsewhere.example' }),
      'another audience': await signed({ ...bound, aud: 'somebody' }),
      'no subject': await signed({ ...bound, sub: undefined } as unknown as JWTPayload),
      'no expiry': await signed({ ...bound, exp: undefined } as unknown as JWTPayload),
      'alg none': `${header}.${base64(bound)}.`,
      'alg none with a signature': `${header}.${base64(bound)}.${(await signed(bound)).split('.')[2]}`,
      'a changed payload': (await signed(bound)).replace(/\.[^.]+\./, `.${base64({ ...bound, sub: 'u-2' })}.`),
    }
    for (const [name, token] of Object.entries(wrong)) t.equal(await statusWith(service, token), 401, name)
    t.equal(
      await statusWith(service, await signed({ ...bound, exp: now() - 10 })),
      200,
      'a small clock difference is allowed',
    )
  })
})

t.test('tokens signed by a key set', async (t) => {
  const first = await generateKeyPair('ES256')
  const second = await generateKeyPair('RS256')
  const published = [{ ...(await exportJWK(first.publicKey)), kid: 'first', alg: 'ES256' }]
  let away = false
  const server = createServer((_request, response) => {
    if (away) response.socket!.destroy()
    else response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: published }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`
  const start = () => startService(t, database.url, { PURSER_JWT_JWKS_URL: jwksUrl, PURSER_JWT_ISSUER: ISSUER })
  const payload = claims({ tenant_id: 'acme' })
  const sign = (alg: string, kid: string, key: typeof first.privateKey) =>
    new SignJWT(payload).setProtectedHeader({ alg, kid }).sign(key)

  const service = await start()
  t.equal(await statusWith(service, await sign('ES256', 'first', first.privateKey)), 200)
  t.equal(await statusWith(service, await sign('RS256', 'first', second.privateKey)), 401, 'a key of another kind')
  // A public key is not a shared secret, so a token signed with its text must be refused.
  const confused = `${base64({ alg: 'HS256', kid: 'first' })}.${base64(payload)}`
  const mac = createHmac('sha256', JSON.stringify(published[0])).update(confused).digest('base64url')
  t.equal(await statusWith(service, `${confused}.${mac}`), 401, 'algorithm confusion')

  published.push({ ...(await exportJWK(second.publicKey)), kid: 'second', alg: 'RS256' })
  // A running instance finds a new key by itself, once it may fetch the set again.
  while ((await statusWith(service, await sign('RS256', 'second', second.privateKey))) !== 200);
  t.equal(
    await statusWith(service, await sign('RS256', 'second', second.privateKey)),
    200,
    'a running service accepts a new key',
  )
  const rotated = await start()
  t.equal(await statusWith(rotated, await sign('RS256', 'second', second.privateKey)), 200, 'a rotated key is accepted')
  t.equal(
    await statusWith(rotated, await sign('ES256', 'first', first.privateKey)),
    200,
    'the old key is accepted while it is published',
  )

  away = true
  const cutOff = await start()
  const answer = await cutOff.call('GET', '/v1/quotas', undefined, {
    authorization: `Bearer ${await sign('ES256', 'first', first.privateKey)}`,
  })
  t.match(answer, { status: 503, json: { code: 'unavailable' } })
  t.equal((await cutOff.call('GET', '/v1/quotas')).status, 200, 'API keys work meanwhile')
})

t.test('keys of a set without a key id are tried one after the other', async (t) => {
  const pairs = await Promise.all(Array.from({ length: 3 }, () => generateKeyPair('ES256')))
  const other = await generateKeyPair('ES256')
  const keys = await Promise.all(pairs.map(({ publicKey }) => exportJWK(publicKey)))
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const service = await startService(t, database.url, {
    PURSER_JWT_JWKS_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`,
  })
  const sign = (payload: JWTPayload, key: typeof other.privateKey) =>
    new SignJWT(payload).setProtectedHeader({ alg: 'ES256' }).sign(key)
  const payload = claims({ tenant_id: 'acme' })
  for (const { privateKey } of pairs) t.equal(await statusWith(service, await sign(payload, privateKey)), 200)
  t.equal(await statusWith(service, await sign(payload, other.privateKey)), 401, 'a key that is not in the set')
  const expired = { ...payload, exp: now() - 60 }
  t.equal(
    await statusWith(service, await sign(expired, pairs[2]!.privateKey)),
    401,
    'the right key, but an expired token',
  )
})

t.test('without token settings a token is refused like a wrong key', async (t) => {
  const service = await startService(t, database.url)
  t.equal(await statusWith(service, await signed(claims({ app_metadata: { role: 'admin' } }))), 401)
})
