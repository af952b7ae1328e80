import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { SMTPServer } from 'smtp-server'
import { Webhook } from 'standardwebhooks'
import t, { type Test } from 'tap'
import { createDatabase, type TestDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startReceiver, type Received, type Receiver } from '../../helpers/servers/receiver.ts'
import { startService, type Service } from '../../helpers/servers/service.ts'

// Polling until something has happened takes many requests.
const ALLOWED = { PURSER_WEBHOOK_PRIVATE_TARGETS: '127.0.0.1', PURSER_RATE_LIMIT_ADMIN: '100000000' }

const mails: { to: string[]; raw: string }[] = []
const mailUrl = await startMailServer()
const database = await createDatabase(t)
const service = await startService(t, database.url, {
  ...ALLOWED,
  PURSER_SMTP_URL: mailUrl,
  PURSER_MAIL_FROM: 'purser@example.com',
})

async function startMailServer(): Promise<string> {
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onData: (stream, session, done) => {
      let raw = ''
      stream.on('data', (chunk: Buffer) => (raw += chunk.toString()))
      stream.on('end', () => {
        mails.push({ to: session.envelope.rcptTo.map(({ address }) => address), raw })
        done()
      })
    },
  })
  const listening = server.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  t.teardown(() => server.close())
  return `smtp://127.0.0.1:${(listening.address() as AddressInfo).port}`
}

async function makeEndpoint(of: object, by: Service = service) {
  const made = await by.call('POST', '/v1/webhook-endpoints', { kind: 'webhook', types: [], ...of })
  if (made.status !== 201) throw new Error(made.text)
  return made.json as { endpoint_id: string; secret: string }
}

/** Deletes an endpoint when `t` is done, so that it gets no events of other tests. */
async function endpointFor(t: Test, of: object) {
  const made = await makeEndpoint(of)
  t.teardown(() => service.call('DELETE', `/v1/webhook-endpoints/${made.endpoint_id}`))
  return made
}

type Listed = { delivery_id: string; event_id: string | null; status: string; attempts: number; last_status: number }

const deliveriesOf = async (endpointId: string, query = ''): Promise<Listed[]> =>
  (await service.call('GET', `/v1/webhook-endpoints/${endpointId}/deliveries?limit=1000${query}`)).json.data

/** Polls until every delivery of an endpoint is as wanted. */
async function until(endpointId: string, wanted: (deliveries: Listed[]) => boolean): Promise<Listed[]> {
  for (;;) {
    const deliveries = await deliveriesOf(endpointId)
    if (wanted(deliveries)) return deliveries
    await sleep(20)
  }
}

/** Makes every delivery that waits for a later attempt due now, as if that time had passed. */
const passTime = (of: TestDatabase = database) =>
  of.pool.query(`update copilot_internal.webhook_deliveries set next_attempt_at = now() where status = 'pending'`)

let models = 0
/** Emits events without a tenant, each with its own model and principal. */
async function tell(count: number, of: TestDatabase = database): Promise<void> {
  await of.pool.query(
    `select copilot_internal.emit_missing_prices(
       array_agg('principal-' || n), array_agg(null::text), array_agg('openai'::text), array_agg('model-' || n))
     from generate_series($1::integer, $2) n`,
    [models + 1, (models += count)],
  )
}

async function spend(tenantId: string, usd: number, more: object = {}) {
  const body = { resource_type: 'llm', tenant_id: tenantId, cost_usd: usd, ...more }
  const { status, text } = await service.call('POST', '/v1/cost-records', { records: [body] })
  if (status !== 201) throw new Error(text)
}

const setLimit = (body: object) => service.call('PUT', '/v1/quotas', { period: 'day', ...body })

const typesOf = ({ received }: Receiver) =>
  received.map(({ body }) => {
    const { type, data } = JSON.parse(body) as { type: string; data: Record<string, unknown> }
    return [type, data['tenant_id'], data['scope'] ?? '-', data['threshold'] ?? ''].join(' ').trim()
  })

t.test('quota events are delivered with a valid signature and the same content as GET /v1/events', async (t) => {
  const receiver = await startReceiver(t)
  const { endpoint_id: id, secret } = await endpointFor(t, { url: receiver.url })
  t.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/)
  await setLimit({ scope: 'tenant', tenant_id: 'acme', limit_usd: 10 })
  await spend('acme', 8.000000000001)
  await receiver.has(1)
  const { body, headers } = receiver.received[0]!
  const payload = new Webhook(secret).verify(body, headers as Record<string, string>)
  const [event] = (await service.call('GET', '/v1/events?tenant_id=acme')).json.data
  const { type, created_at: timestamp, data, ...about } = event
  t.same(payload, { type, timestamp, data: { ...about, ...data } })
  t.match(payload, { type: 'quota.warning', data: { threshold: 0.8, spent_usd: 8.000000000001, limit_usd: 10 } })
  t.equal(headers['webhook-id'], event.event_id)
  t.match(await until(id, ([one]) => one?.status === 'delivered'), [
    { event_id: event.event_id, status: 'delivered', attempts: 1, last_status: 200, next_attempt_at: null },
  ])
})

t.test('endpoints are filtered by type, tenant and scope', async (t) => {
  const make = async (of: object) => {
    const receiver = await startReceiver(t)
    await endpointFor(t, { url: receiver.url, ...of })
    return receiver
  }
  const all = await make({})
  const exceeded = await make({ types: ['quota.exceeded'] })
  const left = await make({ tenant_id: 'left' })
  const users = await make({ scope: 'user', tenant_id: 'right' })
  for (const tenantId of ['left', 'right']) {
    await setLimit({ scope: 'tenant', tenant_id: tenantId, limit_usd: 100 })
    await setLimit({ scope: 'user', tenant_id: tenantId, user_id: 'u', limit_usd: 100, thresholds: [0.5] })
    await spend(tenantId, 85, { user_id: 'u' })
  }
  await spend('right', 15, { user_id: 'u' })
  await Promise.all([all.has(7), exceeded.has(2), left.has(2), users.has(2)])
  t.same(typesOf(all).toSorted(), [
    'quota.exceeded right tenant',
    'quota.exceeded right user',
    ...['quota.warning left tenant 0.8', 'quota.warning left user 0.5'],
    ...['quota.warning right tenant 0.8', 'quota.warning right tenant 0.9', 'quota.warning right user 0.5'],
  ])
  t.same(typesOf(exceeded).toSorted(), ['quota.exceeded right tenant', 'quota.exceeded right user'])
  t.same(typesOf(left).toSorted(), ['quota.warning left tenant 0.8', 'quota.warning left user 0.5'])
  t.same(typesOf(users).toSorted(), ['quota.exceeded right user', 'quota.warning right user 0.5'])
})

t.test('events are also delivered by mail and to Slack-compatible hooks', async (t) => {
  const slack = await startReceiver(t)
  const hook = await makeEndpoint({ kind: 'slack', url: slack.url, types: ['price.missing'] })
  const mail = await makeEndpoint({ kind: 'email', to: ['ops@example.com'], types: ['price.missing'] })
  t.equal(hook.secret, undefined)
  await tell(1)
  await Promise.all([slack.has(1), until(mail.endpoint_id, ([one]) => one?.status === 'delivered')])
  t.match(JSON.parse(slack.received[0]!.body), { text: /no price for openai model-\d+/ })
  t.match(mails, [{ to: ['ops@example.com'], raw: /no price for openai/ }])
  for (const { endpoint_id: id } of [hook, mail]) await service.call('DELETE', `/v1/webhook-endpoints/${id}`)
})

t.test('a failed delivery is retried with the same webhook-id and body until it succeeds', async (t) => {
  const receiver = await startReceiver(t)
  const { endpoint_id: id, secret } = await endpointFor(t, { url: receiver.url })
  const failures: Receiver['answer'][] = [
    (response) => response.writeHead(500).end(),
    (response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    (response) => response.socket!.destroy(),
    (response) => response.writeHead(503, { 'retry-after': '7200' }).end(),
  ]
  for (const [n, failure] of failures.entries()) {
    receiver.answer = failure
    if (n === 0) await tell(1)
    else await passTime()
    await receiver.has(n + 1)
    const [one] = await until(id, ([one]) => one?.attempts === n + 1 && one.last_status === [500, 302, null, 503][n])
    t.match(one, { status: 'pending', next_attempt_at: String })
  }
  const [waiting] = (await service.call('GET', `/v1/webhook-endpoints/${id}/deliveries`)).json.data
  t.ok(Date.parse(waiting.next_attempt_at) > Date.now() + 7_000_000, 'Retry-After is honoured')
  receiver.answer = (response) => response.end()
  await passTime()
  await until(id, ([one]) => one?.status === 'delivered')
  t.equal(receiver.received.length, 5)
  t.equal(new Set(receiver.received.map(({ headers, body }) => `${String(headers['webhook-id'])} ${body}`)).size, 1)
  for (const { body, headers } of receiver.received) new Webhook(secret).verify(body, headers as Record<string, string>)
})

t.test('during a secret rotation both secrets verify, afterwards only the new one', async (t) => {
  const receiver = await startReceiver(t)
  const { endpoint_id: id, secret: old } = await endpointFor(t, { url: receiver.url })
  const rotate = (body: object) => service.call('POST', `/v1/webhook-endpoints/${id}/rotate-secret`, body)
  const { json: rotated } = await rotate({})
  t.match(rotated, { endpoint_id: id, secret: /^whsec_/ })
  await tell(1)
  await receiver.has(1)
  const verify = (secret: string, { body, headers }: Received) =>
    new Webhook(secret).verify(body, headers as Record<string, string>)
  for (const secret of [old, rotated.secret]) verify(secret, receiver.received[0]!)
  t.equal(String(receiver.received[0]!.headers['webhook-signature']).split(' ').length, 2)
  const { json: last } = await rotate({ overlap_seconds: 0 })
  await tell(1)
  await receiver.has(2)
  verify(last.secret, receiver.received[1]!)
  for (const secret of [old, rotated.secret]) t.throws(() => verify(secret, receiver.received[1]!), /No matching/)
  t.notMatch((await service.call('GET', `/v1/webhook-endpoints/${id}`)).text, 'whsec_')
})

t.test('a 410 disables the endpoint, and its deliveries continue once it is enabled again', async (t) => {
  const [receiver, watcher] = [await startReceiver(t), await startReceiver(t)]
  await endpointFor(t, { url: watcher.url, types: ['delivery.failed'] })
  const { endpoint_id: id } = await endpointFor(t, { url: receiver.url, types: ['price.missing'] })
  receiver.answer = (response) => response.writeHead(410).end()
  await tell(1)
  await watcher.has(1)
  t.match(JSON.parse(watcher.received[0]!.body), {
    type: 'delivery.failed',
    data: { endpoint_id: id, endpoint_disabled: true, last_status: 410, failed_type: 'price.missing' },
  })
  t.match(await service.call('GET', `/v1/webhook-endpoints/${id}`), { json: { enabled: false } })
  const [given] = await until(id, ([one]) => one?.status === 'failed')
  t.match(await service.call('POST', `/v1/deliveries/${given!.delivery_id}/redeliver`), {
    status: 202,
    json: { delivery_id: given!.delivery_id, status: 'pending', attempts: 0 },
  })
  receiver.answer = (response) => response.end()
  await service.call('PATCH', `/v1/webhook-endpoints/${id}`, { enabled: true })
  await until(id, ([one]) => one?.status === 'delivered')
  t.equal(receiver.received.length, 2)
  t.equal(receiver.received[0]!.headers['webhook-id'], receiver.received[1]!.headers['webhook-id'])
})

t.test('the last failed attempt emits delivery.failed, but a failed delivery of that event does not', async (t) => {
  const [dead, watcher] = [await startReceiver(t), await startReceiver(t)]
  const { endpoint_id: id } = await endpointFor(t, { url: dead.url })
  const { endpoint_id: watching } = await endpointFor(t, { url: watcher.url, types: ['delivery.failed'] })
  dead.answer = watcher.answer = (response) => response.writeHead(500).end()
  await tell(1)
  await until(id, ([one]) => one?.last_status === 500)
  const skipTo9 = () =>
    database.pool.query(
      `update copilot_internal.webhook_deliveries set attempts = 9, next_attempt_at = now() where status = 'pending'`,
    )
  await skipTo9()
  await until(id, ([one]) => one?.status === 'failed')
  await until(watching, ([one]) => one?.attempts === 1 && one.last_status === 500)
  await skipTo9()
  await until(watching, ([one]) => one?.status === 'failed')
  await tell(1)
  await until(id, ([one]) => one?.last_status === 500)
  t.same(
    (await service.call('GET', '/v1/events?type=delivery.failed')).json.data.length,
    2,
    'the event of this test and that of the 410',
  )
  t.match(await deliveriesOf(watching), [{ status: 'failed', attempts: 10 }])
  t.equal((await deliveriesOf(id, '&status=failed')).length, 1)
})

t.test('a receiver that never answers does not delay other endpoints', async (t) => {
  const [silent, quick] = [await startReceiver(t), await startReceiver(t)]
  silent.answer = () => {}
  await endpointFor(t, { url: silent.url })
  const { endpoint_id: id } = await endpointFor(t, { url: quick.url })
  await tell(200)
  await Promise.all([
    silent.has(20),
    until(id, (all) => all.length === 200 && all.every(({ status }) => status === 'delivered')),
  ])
  t.equal(silent.received.length, 20, 'the silent endpoint gets no more than its share of concurrent attempts')
})

t.test('a test of an endpoint makes one attempt and shows its result', async (t) => {
  const receiver = await startReceiver(t)
  const { endpoint_id: id, secret } = await endpointFor(t, {
    url: receiver.url,
    types: ['quota.exceeded'],
    tenant_id: 'x',
  })
  const asked = await service.call('POST', `/v1/webhook-endpoints/${id}/test`)
  t.match(asked, { status: 202, json: { status: 'pending', event_id: null, attempts: 0 } })
  await until(id, ([one]) => one?.status === 'delivered')
  const { body, headers } = receiver.received[0]!
  t.match(new Webhook(secret).verify(body, headers as Record<string, string>), { type: 'endpoint.test' })
  receiver.answer = (response) => response.writeHead(404).end()
  await service.call('POST', `/v1/webhook-endpoints/${id}/test`)
  t.match(await until(id, ([one]) => one?.status === 'failed'), [
    { attempts: 1, last_status: 404 },
    { status: 'delivered' },
  ])
})

t.test('two instances deliver each event once if nothing fails', async (t) => {
  const receivers = [await startReceiver(t), await startReceiver(t)]
  const ids: string[] = []
  for (const { url } of receivers) ids.push((await endpointFor(t, { url })).endpoint_id)
  const other = await startService(t, database.url, ALLOWED)
  await tell(400)
  for (const id of ids)
    await until(id, (all) => all.length === 400 && all.every(({ status }) => status === 'delivered'))
  for (const { received } of receivers) {
    t.equal(received.length, 400)
    t.equal(new Set(received.map(({ headers }) => headers['webhook-id'])).size, 400)
  }
  t.equal(await other.stop(), 0)
})

t.test('after kill -9 every event arrives at least once, and a repeat has the same id and body', async (t) => {
  const own = await createDatabase(t)
  const receiver = await startReceiver(t)
  let instance = await startService(t, own.url, ALLOWED)
  await makeEndpoint({ url: receiver.url }, instance)
  const left = async () =>
    (
      await own.pool.query<{ n: number }>(`
        select (select count(*) from copilot_internal.quota_events where endpoint_ids is null)::integer
             + (select count(*) from copilot_internal.webhook_deliveries where status <> 'delivered')::integer as n`)
    ).rows[0]!.n
  // During an attempt: the receiver has the event, and the service has not recorded that.
  receiver.answer = () => {}
  await tell(5, own)
  await receiver.has(5)
  await instance.stop('SIGKILL')
  receiver.answer = (response) => response.end()
  const cut = receiver.received.splice(0)
  // Then repeatedly under load.
  for (const at of [30, 90]) {
    instance = await startService(t, own.url, ALLOWED)
    await passTime(own)
    await tell(100, own)
    await receiver.has(at)
    await instance.stop('SIGKILL')
  }
  instance = await startService(t, own.url, ALLOWED)
  await passTime(own)
  while ((await left()) > 0) await sleep(20)
  const idOf = ({ headers }: Received) => String(headers['webhook-id'])
  const bodies = new Map(cut.map((one) => [idOf(one), one.body]))
  for (const one of receiver.received) {
    t.equal(one.body, bodies.get(idOf(one)) ?? one.body)
    bodies.set(idOf(one), one.body)
  }
  const { rows } = await own.pool.query<{ event_id: string }>('select event_id from copilot_internal.quota_events')
  t.equal(rows.length, 205)
  t.same(new Set(bodies.keys()), new Set(rows.map(({ event_id: id }) => id)), 'no event is lost')
  const received = new Set(receiver.received.map(idOf))
  t.ok(
    cut.every((one) => received.has(idOf(one))),
    'the interrupted deliveries are repeated',
  )
  await assertHealthy(t, own.pool)
})

t.test('every event is delivered or still queued', (t) => assertHealthy(t, database.pool))
