// What answers and logs must not reveal, and which connections must be closed.
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { ADMIN_KEY, startService, type Service } from '../helpers/servers/service.ts'

const database = await createDatabase(t)
const REDIS_PASSWORD = 'password-of-redis'
const service = await startService(t, database.url, {
  LOG_LEVEL: 'trace',
  // Nothing listens there, so its errors are logged.
  REDIS_URL: `redis://:${REDIS_PASSWORD}@127.0.0.1:1`,
  PURSER_JWT_SECRET: 'secret-of-tokens-with-32-characters',
})

/** Sends bytes slowly until the service closes the connection. Returns its answer and the time until then. */
async function trickle(of: Service, begin: string, drop: string): Promise<{ said: string; ms: number }> {
  const { hostname, port } = new URL(of.url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const begun = performance.now()
  let said = ''
  socket.on('data', (data) => (said += data.toString()))
  socket.on('error', () => {})
  socket.write(begin)
  const timer = setInterval(() => socket.write(drop), 500)
  await once(socket, 'close')
  clearInterval(timer)
  return { said, ms: performance.now() - begun }
}

t.test('a connection that sends slowly or nothing is closed with a problem', async (t) => {
  const post = `POST /v1/reservations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${ADMIN_KEY}\r\n`
  const [headers, body, silent] = await Promise.all([
    trickle(service, post, 'x-a: b\r\n'),
    trickle(service, `${post}content-type: application/json\r\ncontent-length: 1000\r\n\r\n{`, ' '),
    trickle(service, '', ''),
  ])
  for (const { said } of [headers, body]) {
    t.match(said, /^HTTP\/1\.1 400 Bad Request\r\n[^]*application\/problem\+json[^]*was not sent in time/)
  }
  t.ok(headers.ms < body.ms, 'headers have a shorter timeout')
  t.ok(silent.ms > 0)
  t.equal((await service.call('GET', '/healthz')).status, 200, 'other callers are served meanwhile')
})

/** The answer to raw bytes, until the connection ends. */
async function say(bytes: string): Promise<string> {
  const { hostname, port } = new URL(service.url)
  const socket = connect(Number(port), hostname)
  let said = ''
  socket.on('data', (data) => (said += data.toString()))
  socket.write(bytes)
  await once(socket, 'close')
  return said
}

t.test('requests that Node itself refuses are answered with a problem too', async (t) => {
  const hostless = await say('GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n')
  t.match(hostless, /^HTTP\/1\.1 400 [^]*\r\nx-request-id: [0-9a-f-]{36}\r\n[^]*application\/problem\+json/)
  t.match(hostless, '{"pointer":"host","message":"is required"}')
  t.match(await say('GET /healthz HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200 /, 'HTTP/1.0 has no Host header')
  const expectant = await say('GET /healthz HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\nconnection: close\r\n\r\n')
  t.match(expectant, /^HTTP\/1\.1 200 [^]*\r\nx-request-id: [0-9a-f-]{36}\r\n/)
})

t.test('the sizes of bodies, headers and path parts are bounded', async (t) => {
  const cases: [string, Promise<{ status: number; json: { code: string } }>, number, string][] = [
    ['a body of few fields', service.call('POST', '/v1/api-keys', `"${'x'.repeat(65_535)}"`), 413, 'payload_too_large'],
    ['a body that just fits', service.call('POST', '/v1/api-keys', `"${'x'.repeat(65_534)}"`), 400, 'invalid_request'],
    ['body', service.call('POST', '/v1/reservations', `"${'x'.repeat(1_048_577)}"`), 413, 'payload_too_large'],
    ['header', service.call('GET', '/v1/quotas', undefined, { 'x-long': 'x'.repeat(17_000) }), 400, 'invalid_request'],
    ['query', service.call('GET', `/v1/quotas?tenant_id=${'x'.repeat(17_000)}`), 400, 'invalid_request'],
    ['path', service.call('GET', `/v1/reservations/${'x'.repeat(600)}`), 414, 'uri_too_long'],
  ]
  for (const [name, answer, status, code] of cases) t.match(await answer, { status, json: { code } }, name)
})

/** Details of the machine, the packages and the database that no answer may contain. */
const INSIDE =
  /node_modules|\.ts:|at .+:\d+:\d+|copilot_internal|postgres|fastify|kysely|purser_service|select |SQLSTATE|42883/i

t.test('headers and errors reveal no internals', async (t) => {
  const answers = [
    await service.call('GET', '/healthz'),
    await service.call('GET', '/v1/quotas'),
    await service.call('GET', '/v1/nothing'),
    await service.call('POST', '/v1/reservations', '{'),
    await service.call('GET', '/v1/quotas', undefined, { authorization: 'Bearer wrong' }),
  ]
  // A failing statement is the service's fault. Its caller learns only that, and a request id.
  await database.pool.query('alter function copilot_internal.quota_json rename to quota_json_gone')
  const failed = await service.call('GET', '/v1/quotas')
  await database.pool.query('alter function copilot_internal.quota_json_gone rename to quota_json')
  t.match(failed, { status: 500, json: { code: 'internal', request_id: String } })
  // The log line may come a moment after the answer. The test's timeout bounds the wait.
  while (!service.output().includes(failed.json.request_id)) await service.call('GET', '/healthz')
  for (const { headers, text } of [...answers, failed]) {
    t.notMatch(text, INSIDE)
    for (const name of ['server', 'x-powered-by', 'via']) t.equal(headers.get(name), null, name)
    t.equal(headers.get('x-content-type-options'), 'nosniff')
    t.match(headers.get('content-security-policy'), "default-src 'none'")
    t.match(headers.get('strict-transport-security'), /max-age=\d{8}/)
    t.equal(headers.get('x-frame-options'), 'SAMEORIGIN')
    t.equal(headers.get('referrer-policy'), 'no-referrer')
  }
})

async function assertNotLogged(t: Test, secrets: string[]): Promise<void> {
  for (const secret of secrets) t.notOk(service.output().includes(secret), `${secret.slice(0, 6)}… is not in the log`)
}

t.test('no key, token or password is logged, wherever a caller puts it', async (t) => {
  const { key } = (await service.call('POST', '/v1/api-keys', { name: 'n', role: 'viewer' })).json
  const token = `eyJhbGciOiJIUzI1NiJ9.${Buffer.from('{"sub":"u"}').toString('base64url')}.c2lnbmF0dXJl`
  const signed = 'an-idempotency-key'
  for (const secret of [key, token, ADMIN_KEY]) {
    await service.call('GET', '/v1/quotas', undefined, { authorization: `Bearer ${secret}` })
    await service.call('GET', `/v1/quotas?access_token=${secret}`)
    await service.call('GET', `/v1/${secret}`)
    await service.call('GET', '/v1/quotas', undefined, { 'x-request-id': secret })
    await service.call('POST', '/v1/reservations', { tenant_id: secret }, { 'idempotency-key': signed })
  }
  t.match(service.output(), /access_token=/, 'requests are in the log')
  t.match(service.output(), /psr_\[redacted\]/)
  t.match(service.output(), /Redis is out of reach/)
  const { password } = new URL(database.url)
  await assertNotLogged(t, [key, token, ADMIN_KEY, REDIS_PASSWORD, password, 'secret-of-tokens-with-32-characters'])
})
