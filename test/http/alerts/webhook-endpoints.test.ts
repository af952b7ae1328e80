import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)
const call = (method: string, path = '', body?: unknown, headers?: Record<string, string>) =>
  service.call(method, `/v1/webhook-endpoints${path}`, body, headers)

const hook = { kind: 'webhook', url: 'https://hooks.example.com/purser?token=abc', types: ['quota.warning'] }

t.test('creating, changing and deleting an endpoint is written to the audit log', async (t) => {
  const made = await call('POST', '', { ...hook, tenant_id: 'acme', scope: 'user' }, { 'x-purser-reason': 'on call' })
  t.equal(made.status, 201)
  const { secret, endpoint_id: id, ...shown } = made.json
  t.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/)
  t.match(shown, { ...hook, tenant_id: 'acme', scope: 'user', enabled: true, created_at: String, updated_at: String })
  t.same((await call('GET', `/${id}`)).json, { endpoint_id: id, ...shown }, 'the answer has no secret')
  const changed = await call('PATCH', `/${id}`, { scope: null, types: [], enabled: false })
  t.match(changed, { status: 200, json: { scope: null, types: [], enabled: false, tenant_id: 'acme', url: hook.url } })
  t.equal((await call('POST', `/${id}/rotate-secret`)).status, 200)
  t.equal((await call('DELETE', `/${id}`)).status, 204)
  t.match(await call('GET', `/${id}`), { status: 404, json: { code: 'not_found' } })
  const log = await service.call('GET', '/v1/audit-log')
  const url = 'https://hooks.example.com/purser'
  t.match(
    log.json.data.filter(({ subject }: { subject: string }) => subject === `webhook_endpoint:${id}`).toReversed(),
    [
      { action: 'webhook_endpoint.create', before: null, after: { url, scope: 'user' }, reason: 'on call' },
      { action: 'webhook_endpoint.update', before: { enabled: true }, after: { url, enabled: false, types: [] } },
      { action: 'webhook_endpoint.rotate_secret', before: { enabled: false }, after: { enabled: false } },
      { action: 'webhook_endpoint.delete', before: { enabled: false }, after: null },
    ],
  )
  t.notMatch(log.text, /whsec_|token=abc/, 'no secret is in the log')
})

t.test('the audit log contains only the host of a Slack hook, because its path is its secret', async (t) => {
  const { json } = await call('POST', '', {
    kind: 'slack',
    url: 'https://hooks.slack.com/services/T/B/very-secret',
    types: [],
  })
  t.equal(json.secret, undefined)
  const log = await service.call('GET', '/v1/audit-log?limit=1')
  t.match(log.json.data, [{ after: { url: 'https://hooks.slack.com/…' } }])
  t.match(await call('POST', `/${json.endpoint_id}/rotate-secret`, {}), {
    status: 400,
    json: { errors: [{ pointer: 'endpoint_id', message: 'is of kind slack, which has no secret' }] },
  })
  await call('DELETE', `/${json.endpoint_id}`)
})

t.test('endpoints and deliveries are listed by page', async (t) => {
  const ids: string[] = []
  for (let n = 0; n < 5; n++) ids.push((await call('POST', '', hook)).json.endpoint_id)
  const walk = async (path: string, name: string) => {
    const found: string[] = []
    for (let cursor = ''; ;) {
      const { json } = await service.call('GET', `${path}?limit=2${cursor}`)
      found.push(...json.data.map((one: Record<string, string>) => one[name]))
      if (json.next_cursor === null) return found
      cursor = `&cursor=${json.next_cursor}`
    }
  }
  t.same(await walk('/v1/webhook-endpoints', 'endpoint_id'), ids)
  await call('PATCH', `/${ids[0]}`, { enabled: false })
  const tests: string[] = []
  for (let n = 0; n < 3; n++) tests.push((await call('POST', `/${ids[0]}/test`)).json.delivery_id)
  t.same(await walk(`/v1/webhook-endpoints/${ids[0]}/deliveries`, 'delivery_id'), tests.toReversed())
  t.same((await call('GET', `/${ids[0]}/deliveries?status=failed`)).json.data, [])
  for (const id of ids) t.equal((await call('DELETE', `/${id}`)).status, 204)
  t.equal(
    (await service.call('POST', `/v1/deliveries/${tests[0]}/redeliver`)).status,
    404,
    'its deliveries are deleted with it',
  )
})

t.test('only administrators see or change endpoints', async (t) => {
  const { json } = await call('POST', '', hook)
  const path = `/v1/webhook-endpoints/${json.endpoint_id}`
  const routes: [string, string, object?][] = [
    ['GET', '/v1/webhook-endpoints'],
    ['POST', '/v1/webhook-endpoints', hook],
    ['GET', path],
    ['PATCH', path, { enabled: false }],
    ['DELETE', path],
    ['POST', `${path}/test`],
    ['POST', `${path}/rotate-secret`, {}],
    ['GET', `${path}/deliveries`],
    ['POST', `/v1/deliveries/${json.endpoint_id}/redeliver`],
  ]
  for (const role of ['service', 'viewer'] as const) {
    for (const headers of [await service.keyFor(role), await service.keyFor(role, 'acme')])
      for (const [method, route, body] of routes)
        t.equal((await service.call(method, route, body, headers)).status, 403, `${role} ${method} ${route}`)
  }
  for (const [method, route, body] of routes)
    t.equal((await service.call(method, route, body, { authorization: '' })).status, 401)
  await call('DELETE', `/${json.endpoint_id}`)
})

t.test('an invalid endpoint is refused with its pointer, and nothing is written', async (t) => {
  const { json: made } = await call('POST', '', hook)
  const counts = async () =>
    (
      await database.pool.query(`select (select count(*) from copilot_internal.webhook_endpoints) as endpoints,
        (select count(*) from copilot_internal.webhook_secrets) as secrets,
        (select count(*) from copilot_internal.webhook_deliveries) as deliveries,
        (select count(*) from copilot_internal.audit_log) as changes`)
    ).rows
  const before = await counts()
  const mail = { kind: 'email', to: ['a@example.com'], types: [] }
  const create: [body: unknown, pointer: string][] = [
    [{}, '/kind'],
    [[], ''],
    [{ ...hook, kind: 'fax' }, '/kind'],
    [{ ...hook, kind: undefined }, '/kind'],
    [{ ...hook, types: undefined }, '/types'],
    [{ ...hook, types: 'quota.warning' }, '/types'],
    [{ ...hook, types: ['quota.unheard'] }, '/types/0'],
    [{ ...hook, types: ['quota.warning', 'quota.warning'] }, '/types'],
    [{ ...hook, url: undefined }, '/url'],
    [{ ...hook, url: 'here' }, '/url'],
    [{ ...hook, url: 7 }, '/url'],
    [{ ...hook, url: `https://example.com/${'x'.repeat(2_000)}` }, '/url'],
    [{ ...hook, url: 'https://example.com/\u0000' }, '/url'],
    [{ ...hook, url: 'http://example.com/' }, '/url'],
    [{ ...hook, url: 'https://10.0.0.1/' }, '/url'],
    [{ ...hook, url: 'https://[::ffff:127.0.0.1]/' }, '/url'],
    [{ ...hook, url: 'https://0x7f000001/' }, '/url'],
    [{ ...hook, url: 'https://a:b@example.com/' }, '/url'],
    [{ ...hook, url: 'gopher://example.com/' }, '/url'],
    [{ ...hook, to: ['a@example.com'] }, '/to'],
    [{ ...hook, tenant_id: '' }, '/tenant_id'],
    [{ ...hook, scope: 'galaxy' }, '/scope'],
    [{ ...hook, enabled: 'yes' }, '/enabled'],
    [{ ...hook, secret: 'whsec_mine' }, '/secret'],
    [{ ...mail, to: [] }, '/to'],
    [{ ...mail, to: undefined }, '/to'],
    [{ ...mail, to: ['nobody'] }, '/to/0'],
    [{ ...mail, to: ['a@example.com\r\nBcc: b@example.com'] }, '/to/0'],
    [{ ...mail, to: ['A <a@example.com>'] }, '/to/0'],
    [{ ...mail, to: Array.from({ length: 21 }, (_, n) => `a${n}@example.com`) }, '/to'],
    [{ ...mail, url: hook.url }, '/url'],
    [mail, '/kind'],
  ]
  const pointers = (json: { errors?: { pointer: string }[] }) => json.errors?.map(({ pointer }) => pointer) ?? []
  for (const [body, pointer] of create) {
    const { status, json } = await call('POST', '', body)
    t.match({ status, code: json.code }, { status: 400, code: 'invalid_request' }, JSON.stringify(body))
    t.ok(pointers(json).includes(pointer), `${JSON.stringify(body)}: ${JSON.stringify(json.errors)}`)
  }
  const patch: [body: unknown, pointer: string][] = [
    [{}, ''],
    [{ kind: 'slack' }, '/kind'],
    [{ url: 'https://192.168.0.1/' }, '/url'],
    [{ url: null }, '/url'],
    [{ to: ['a@example.com'] }, '/to'],
    [{ types: [1] }, '/types/0'],
    [{ enabled: null }, '/enabled'],
  ]
  for (const [body, pointer] of patch) {
    const { status, json } = await call('PATCH', `/${made.endpoint_id}`, body)
    t.equal(status, 400, JSON.stringify(body))
    t.ok(pointers(json).includes(pointer), `${JSON.stringify(body)}: ${JSON.stringify(json.errors)}`)
  }
  const rotate = (body: unknown) => call('POST', `/${made.endpoint_id}/rotate-secret`, body)
  for (const body of [
    { overlap_seconds: -1 },
    { overlap_seconds: 2_592_001 },
    { overlap_seconds: '5' },
    { seconds: 5 },
  ])
    t.equal((await rotate(body)).status, 400, JSON.stringify(body))
  const nobody = '019ac0de-0000-7000-8000-000000000001'
  const missing: [string, string, object?][] = [
    ['GET', `/v1/webhook-endpoints/${nobody}`],
    ['PATCH', `/v1/webhook-endpoints/${nobody}`, { enabled: true }],
    ['DELETE', `/v1/webhook-endpoints/${nobody}`],
    ['POST', `/v1/webhook-endpoints/${nobody}/test`],
    ['POST', `/v1/webhook-endpoints/${nobody}/rotate-secret`, {}],
    ['GET', `/v1/webhook-endpoints/${nobody}/deliveries`],
    ['POST', `/v1/deliveries/${nobody}/redeliver`],
  ]
  for (const [method, path, body] of missing) {
    t.match(await service.call(method, path, body), { status: 404, json: { code: 'not_found' } }, `${method} ${path}`)
    const odd = path.replace(nobody, 'no-uuid')
    t.equal((await service.call(method, odd, body)).status, 400, `${method} ${odd}`)
  }
  for (const query of ['?cursor=xyz', '?limit=0', '?limit=1001', '?kind=webhook'])
    t.equal((await call('GET', query)).status, 400, query)
  for (const query of ['?cursor=xyz', '?status=lost', '?limit=x'])
    t.equal((await call('GET', `/${made.endpoint_id}/deliveries${query}`)).status, 400, query)
  t.same(await counts(), before)
  await call('DELETE', `/${made.endpoint_id}`)
})

t.test('at most a hundred endpoints can exist', async (t) => {
  const ids: string[] = []
  for (let n = 0; n < 100; n++) ids.push((await call('POST', '', hook)).json.endpoint_id)
  t.match(await call('POST', '', hook), { status: 400, json: { detail: /there are 100 endpoints/ } })
  t.equal((await call('DELETE', `/${ids[0]}`)).status, 204)
  t.equal((await call('POST', '', hook)).status, 201)
})
