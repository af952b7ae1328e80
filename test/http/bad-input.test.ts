import t from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { ADMIN_KEY, startService } from '../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)
const caller = await service.keyFor('service')
const held = await service.call('POST', '/v1/reservations', {
  resource_type: 'llm',
  tenant_id: 'good',
  estimated_cost_usd: 1,
})
const id = held.json.reservation_id

/** Counts everything that a request could have written. */
async function written(): Promise<string> {
  const tables = [
    'reservations',
    'scopes',
    'cost_quotas',
    'quota_periods',
    'llm_cost_records',
    'e2b_cost_records',
    'record_keys',
    'record_corrections',
    'api_keys',
    'quota_defaults',
    'audit_log',
  ]
  const counts = tables.map((table) => `(select count(*) from copilot_internal.${table})`)
  const { rows } = await database.pool.query(`select array[${counts.join(', ')}] as counts,
    (select sum(spent + reserved) from copilot_internal.quota_periods) as money`)
  return JSON.stringify(rows)
}

const before = await written()
const control = 'a\u0000b'
const long = 'x'.repeat(300)
const llm = { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 1, max_output_tokens: 1 }
const reserve = { resource_type: 'llm', tenant_id: 'good', llm }

const call = { resource_type: 'llm', tenant_id: 'good' }
const run = { resource_type: 'e2b', tenant_id: 'good' }
const spend = { ...call, cost_usd: 1 }

/** A body as printable ASCII, for an assertion message. */
const nameOf = (body: unknown) => (JSON.stringify(body) ?? '').replace(/[^ -~]/g, '?').slice(0, 120)

/** Bodies that must be refused, and the pointer that the answer must name. */
const bad: Record<string, [body: unknown, pointer: string][]> = {
  'POST /v1/reservations': [
    [[], ''],
    ['null', ''],
    ['"text"', ''],
    [{}, '/resource_type'],
    [{ ...reserve, resource_type: 'gpu' }, '/resource_type'],
    [{ ...reserve, resource_type: 7 }, '/resource_type'],
    [{ ...reserve, tenant_id: undefined }, '/tenant_id'],
    [{ ...reserve, tenant_id: '' }, '/tenant_id'],
    [{ ...reserve, tenant_id: long }, '/tenant_id'],
    [{ ...reserve, tenant_id: control }, '/tenant_id'],
    [{ ...reserve, tenant_id: '\ud800' }, '/tenant_id'],
    [{ ...reserve, tenant_id: 'line\u2028break' }, '/tenant_id'],
    [{ ...reserve, tenant_id: 17 }, '/tenant_id'],
    [{ ...reserve, user_id: 'some.body@example.com' }, '/user_id'],
    [{ ...reserve, conversation_id: {} }, '/conversation_id'],
    [{ ...reserve, colour: 'red' }, '/colour'],
    [{ ...reserve, 'a/b': 1 }, '/a~1b'],
    [{ ...reserve, labels: { Upper: 'x' } }, '/labels/Upper'],
    [{ ...reserve, labels: { ok: 7 } }, '/labels/ok'],
    [{ ...reserve, labels: { ok: control } }, '/labels/ok'],
    [{ ...reserve, labels: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`l${n}`, 'x'])) }, '/labels'],
    [{ ...reserve, ttl_seconds: 0 }, '/ttl_seconds'],
    [{ ...reserve, ttl_seconds: 90_001 }, '/ttl_seconds'],
    [{ ...reserve, ttl_seconds: '60' }, '/ttl_seconds'],
    [{ ...reserve, on_expiry: 'keep' }, '/on_expiry'],
    [{ ...reserve, allow_caps: 'yes' }, '/allow_caps'],
    [{ ...reserve, llm: undefined }, '/llm'],
    [{ ...reserve, llm: { ...llm, model: undefined } }, '/llm/model'],
    [{ ...reserve, llm: { ...llm, max_output_tokens: undefined } }, '/llm/max_output_tokens'],
    [{ ...reserve, llm: { ...llm, input_tokens: undefined } }, '/llm/input_tokens'],
    [{ ...reserve, llm: { ...llm, text: 'both' } }, '/llm/text'],
    [{ ...reserve, llm: { ...llm, input_tokens: -1 } }, '/llm/input_tokens'],
    [{ ...reserve, llm: { ...llm, input_tokens: 1.5 } }, '/llm/input_tokens'],
    [{ ...reserve, llm: { ...llm, input_tokens: 1e300 } }, '/llm/input_tokens'],
    [{ ...reserve, llm: { ...llm, input_tokens: 'NaN' } }, '/llm/input_tokens'],
    [{ ...reserve, llm: { ...llm, cache_read_tokens: 2 } }, '/llm/cache_read_tokens'],
    [{ ...reserve, llm: { ...llm, service_tier: 'gold' } }, '/llm/service_tier'],
    [{ ...reserve, e2b: { max_seconds: 1 } }, '/e2b'],
    [{ ...reserve, estimated_cost_usd: 1 }, '/estimated_cost_usd'],
    [{ resource_type: 'llm', tenant_id: 'good', estimated_cost_usd: -0.01 }, '/estimated_cost_usd'],
    [{ resource_type: 'llm', tenant_id: 'good', estimated_cost_usd: 1e9 }, '/estimated_cost_usd'],
    [{ resource_type: 'llm', tenant_id: 'good', estimated_cost_usd: '1e3' }, '/estimated_cost_usd'],
    [{ resource_type: 'llm', tenant_id: 'good', estimated_cost_usd: 'NaN' }, '/estimated_cost_usd'],
    [{ resource_type: 'llm', tenant_id: 'good', estimated_cost_usd: null }, '/estimated_cost_usd'],
    [{ resource_type: 'llm', tenant_id: 'good', estimated_cost_usd: 1, allow_caps: true }, '/allow_caps'],
    ['{"resource_type":"llm","tenant_id":"good","estimated_cost_usd":99999999999999999999.5}', '/estimated_cost_usd'],
    ['{"resource_type":"llm","tenant_id":"good","estimated_cost_usd":999999999.9999999999999}', '/estimated_cost_usd'],
    ['{"resource_type":"llm","tenant_id":"good","estimated_cost_usd":NaN}', ''],
    ['{"resource_type":', ''],
    ['', ''],
    [{ resource_type: 'e2b', tenant_id: 'good', e2b: { max_seconds: 0 } }, '/e2b/max_seconds'],
    [{ resource_type: 'e2b', tenant_id: 'good', e2b: { max_seconds: 86_401 } }, '/e2b/max_seconds'],
    [{ resource_type: 'e2b', tenant_id: 'good', e2b: { vcpu: 2, max_seconds: 1 } }, '/e2b/memory_mib'],
    [
      { resource_type: 'e2b', tenant_id: 'good', e2b: { tier: 'small', vcpu: 2, memory_mib: 512, max_seconds: 1 } },
      '/e2b/tier',
    ],
  ],
  [`POST /v1/reservations/${id}/commit`]: [
    [{}, '/usage'],
    [{ usage: {} }, '/usage'],
    [{ usage: { input_tokens: 1 }, actual_cost_usd: 1 }, '/actual_cost_usd'],
    [{ usage: { input_tokens: 1, cache_read_tokens: 2 } }, '/usage/cache_read_tokens'],
    [{ usage: { input_tokens: 0.5 } }, '/usage/input_tokens'],
    [{ usage: { tokens: 1 } }, '/usage/tokens'],
    [{ usage: { seconds: 1, input_tokens: 1 } }, '/usage/seconds'],
    [{ usage: { seconds: 10_000_001 } }, '/usage/seconds'],
    [{ provider_usage: 'many' }, '/provider_usage'],
    [{ actual_cost_usd: -1 }, '/actual_cost_usd'],
    [{ actual_cost_usd: 1, call: { started_at: 'yesterday' } }, '/call/started_at'],
    [{ actual_cost_usd: 1, call: { started_at: '2026-02-30T00:00:00Z' } }, '/call/started_at'],
    [{ actual_cost_usd: 1, sandbox_id: '' }, '/sandbox_id'],
    [{ actual_cost_usd: 1, model: long }, '/model'],
  ],
  [`POST /v1/reservations/${id}/extend`]: [
    [[], ''],
    [{}, '/ttl_seconds'],
    [{ ttl_seconds: 0 }, '/ttl_seconds'],
    [{ ttl_seconds: '60' }, '/ttl_seconds'],
    [{ ttl_seconds: 60, estimate: null }, '/estimate'],
    [{ estimate: {} }, '/estimate/max_output_tokens'],
    [{ estimate: { seconds: 1 } }, '/estimate/seconds'],
    [{ estimate: { max_output_tokens: 1 } }, '/estimate/max_output_tokens'],
    [{ estimate: { estimated_cost_usd: 'NaN' } }, '/estimate/estimated_cost_usd'],
    [{ estimate: { estimated_cost_usd: 1e9 } }, '/estimate/estimated_cost_usd'],
  ],
  'POST /v1/reservations/check': [
    [{}, '/resource_type'],
    [{ ...reserve, tenant_id: control }, '/tenant_id'],
    [{ ...reserve, estimated_cost_usd: 1 }, '/estimated_cost_usd'],
    [{ ...reserve, colour: 'red' }, '/colour'],
  ],
  [`POST /v1/reservations/${id}/release`]: [
    [{ reason: '' }, '/reason'],
    [{ reason: control }, '/reason'],
    [{ because: 'x' }, '/because'],
  ],
  'POST /v1/estimates': [
    [{}, '/resource_type'],
    [{ resource_type: 'llm' }, '/llm'],
    [{ resource_type: 'llm', llm: { model: 'gpt-6.1-sol' } }, '/llm/usage'],
    [{ resource_type: 'llm', at: 'now', llm: { model: 'gpt-6.1-sol', usage: { input_tokens: 1 } } }, '/at'],
    [{ resource_type: 'e2b', e2b: { seconds: -1 } }, '/e2b/seconds'],
    [{ resource_type: 'e2b', llm: { model: 'gpt-6.1-sol', usage: { input_tokens: 1 } } }, '/llm'],
  ],
  'POST /v1/cost-records': [
    [{}, '/records'],
    [{ records: [] }, '/records'],
    [{ records: {} }, '/records'],
    [{ records: [spend, 'x'] }, '/records/1'],
    [{ records: [spend, {}] }, '/records/1/resource_type'],
    [{ records: [{ ...spend, tenant_id: control }] }, '/records/0/tenant_id'],
    [{ records: [{ ...spend, colour: 'red' }] }, '/records/0/colour'],
    [{ records: [{ ...spend, labels: { Upper: 'x' } }] }, '/records/0/labels/Upper'],
    [{ records: [{ ...spend, cost_usd: undefined }] }, '/records/0/llm'],
    [{ records: [{ ...spend, cost_usd: '-1' }] }, '/records/0/cost_usd'],
    [{ records: [{ ...spend, cost_usd: '999999999.9999999999999' }] }, '/records/0/cost_usd'],
    [{ records: [{ ...spend, occurred_at: '2026-02-30T00:00:00Z' }] }, '/records/0/occurred_at'],
    [{ records: [{ ...spend, occurred_at: '9999-12-31T23:59:59Z' }] }, '/records/0/occurred_at'],
    [{ records: [{ ...spend, idempotency_key: '' }] }, '/records/0/idempotency_key'],
    [{ records: [{ ...spend, idempotency_key: control }] }, '/records/0/idempotency_key'],
    [{ records: [{ ...spend, idempotency_key: long }] }, '/records/0/idempotency_key'],
    [{ records: [{ ...spend, e2b: { seconds: 1 } }] }, '/records/0/e2b'],
    [{ records: [{ ...spend, llm: { model: 'gpt-6.1-sol', usage: { input_tokens: 1 } } }] }, '/records/0/cost_usd'],
    [{ records: [{ ...call, llm: { model: 'gpt-6.1-sol' } }] }, '/records/0/llm/usage'],
    [{ records: [{ ...call, llm: { model: 'gpt-6.1-sol', usage: { seconds: 1 } } }] }, '/records/0/llm/usage/seconds'],
    [
      { records: [{ ...call, llm: { model: 'gpt-6.1-sol', provider_usage: { unheard: 1 } } }] },
      '/records/0/llm/provider_usage',
    ],
    [{ records: [{ ...run, e2b: {} }] }, '/records/0/e2b/seconds'],
    [{ records: [{ ...run, e2b: { seconds: -1 } }] }, '/records/0/e2b/seconds'],
    [{ records: [{ ...run, e2b: { seconds: 1, vcpu: 2 } }] }, '/records/0/e2b/memory_mib'],
  ],
  'POST /v1/cost-records/01980000-0000-7000-8000-000000000000/correct': [
    [{}, '/reason'],
    [{ reason: 'x' }, '/usage'],
    [{ reason: control, cost_usd: 1 }, '/reason'],
    [{ reason: 'x', cost_usd: -1 }, '/cost_usd'],
    [{ reason: 'x', usage: { input_tokens: 1, cache_read_tokens: 2 } }, '/usage/cache_read_tokens'],
  ],
  'PUT /v1/quotas': [
    [{}, '/scope'],
    [{ scope: 'tenant', period: 'day', limit_usd: 1 }, '/tenant_id'],
    [{ scope: 'platform', tenant_id: 'x', period: 'day', limit_usd: 1 }, '/tenant_id'],
    [{ scope: 'user', tenant_id: 'x', period: 'day', limit_usd: 1 }, '/user_id'],
    [{ scope: 'platform', period: 'year', limit_usd: 1 }, '/period'],
    [{ scope: 'platform', period: 'day' }, '/limit_usd'],
    [{ scope: 'platform', period: 'day', limit_usd: -1 }, '/limit_usd'],
    [{ scope: 'platform', period: 'day', limit_usd: 1e9 }, '/limit_usd'],
    [{ scope: 'platform', period: 'day', limit_usd: 1, time_zone: 'Mars/Olympus' }, '/time_zone'],
    [{ scope: 'platform', period: 'day', limit_usd: 1, week_starts_on: 8 }, '/week_starts_on'],
    [{ scope: 'platform', period: 'day', limit_usd: 1, thresholds: [0] }, '/thresholds/0'],
    [{ scope: 'platform', period: 'day', limit_usd: 1, raise: { limit_usd: 2 } }, '/raise/until'],
  ],
  'POST /v1/api-keys': [
    [{ role: 'service' }, '/name'],
    [{ name: 'x', role: 'service', expires_at: '0000-01-01T00:00:00Z' }, '/expires_at'],
    [{ name: 'x', role: 'service', expires_at: '2030-01-01T00:00:00+23:59' }, '/expires_at'],
    [{ name: 'x', role: 'service', expires_at: '9999-12-31T23:59:59.999999999Z' }, '/expires_at'],
    [{ name: 'x', role: 'service', expires_at: '9999-12-31T23:59:59-14:00' }, '/expires_at'],
    [{ name: 'x', role: 'root' }, '/role'],
    [{ name: 'x', role: 'admin', tenant_id: 'acme' }, '/tenant_id'],
    [{ name: 'x', role: 'service', expires_at: 'never' }, '/expires_at'],
  ],
}

for (const [route, cases] of Object.entries(bad)) {
  t.test(`${route} refuses bad bodies with a pointer`, async (t) => {
    const [method, path] = route.split(' ') as [string, string]
    for (const [body, pointer] of cases) {
      const answer = await service.call(method, path, body)
      const told = answer.json.errors?.map((error: { pointer: string }) => error.pointer) ?? []
      t.match(
        answer,
        { status: 400, json: { code: 'invalid_request', type: '/problems/invalid-request', request_id: String } },
        nameOf(body),
      )
      t.match(answer.headers.get('content-type'), 'application/problem+json')
      t.ok(told.includes(pointer), `names ${pointer || 'the body'} (${told.join(', ')})`)
    }
  })
}

t.test('one mistake is one error, with its own pointer', async (t) => {
  const raise = { limit_usd: 2, until: '2030-01-01T00:00:00Z' }
  const quota = { scope: 'platform', period: 'day', limit_usd: 1 }
  const slips: [method: string, path: string, body: object, error: { pointer: string; message: string | RegExp }][] = [
    [
      ...(['POST', '/v1/reservations'] as const),
      { ...reserve, labels: { Upper: 'x' } },
      { pointer: '/labels/Upper', message: /^is not a valid name/ },
    ],
    [
      ...(['POST', '/v1/reservations'] as const),
      { ...reserve, llm: { ...llm, text: 'both' } },
      { pointer: '/llm/text', message: /^cannot be combined with input_tokens/ },
    ],
    [
      ...(['PUT', '/v1/quotas'] as const),
      { ...quota, raise: { limit_usd: 2 } },
      { pointer: '/raise/until', message: 'is required' },
    ],
    [
      ...(['PUT', '/v1/quotas'] as const),
      { ...quota, raise: { ...raise, colour: 'red' } },
      { pointer: '/raise/colour', message: 'is not a known field' },
    ],
    [
      ...(['PUT', '/v1/quotas'] as const),
      { ...quota, raise: { ...raise, until: 'soon' } },
      { pointer: '/raise/until', message: /^must be a time/ },
    ],
    [
      ...(['PUT', '/v1/quotas'] as const),
      { ...quota, raise: 'much' },
      { pointer: '/raise', message: 'must be object' },
    ],
  ]
  for (const [method, path, body, error] of slips) {
    const { json } = await service.call(method, path, body)
    t.match(json.errors, [error], nameOf(body))
    t.equal(json.errors.length, 1, nameOf(json.errors))
  }
})

t.test('bad query strings are refused with the parameter’s name', async (t) => {
  for (const [path, pointer] of [
    ['/v1/quotas?limit=0', 'limit'],
    ['/v1/quotas?limit=many', 'limit'],
    ['/v1/quotas?limit=1e400', 'limit'],
    ['/v1/quotas?scope=galaxy', 'scope'],
    ['/v1/quotas?colour=red', 'colour'],
    ['/v1/quotas?cursor=rubbish', 'cursor'],
    ['/v1/quotas/status?user_id=u', 'tenant_id'],
    ['/v1/quotas/status?tenant_id=%00', 'tenant_id'],
    ['/v1/reservations/not-a-uuid', 'id'],
    ['/v1/api-keys?cursor=x', 'cursor'],
    [`/v1/api-keys?cursor=${Buffer.from(JSON.stringify('-'.repeat(36))).toString('base64url')}`, 'cursor'],
  ] as const) {
    const answer = await service.call('GET', path)
    t.match(answer, { status: 400, json: { code: 'invalid_request', errors: [{ pointer }] } }, path)
  }
})

t.test('a body too large, a wrong content type and an unknown route each have their own problem', async (t) => {
  for (const characters of [2_000_000, 20_000_000]) {
    const big = JSON.stringify({ ...reserve, tenant_id: 'x'.repeat(characters) })
    t.match(await service.call('POST', '/v1/reservations', big), { status: 413, json: { code: 'payload_too_large' } })
  }
  const parts = new Blob(Array.from({ length: 40 }, () => 'x'.repeat(100_000))).stream()
  const streamed = await fetch(`${service.url}/v1/reservations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    body: parts,
    duplex: 'half',
  })
  t.equal(streamed.status, 413)
  const xml = await service.call('POST', '/v1/reservations', '<a/>', { 'content-type': 'application/xml' })
  t.match(xml, { status: 415, json: { code: 'unsupported_media_type' } })
  t.match(await service.call('GET', '/v1/nothing'), { status: 404, json: { code: 'not_found' } })
  const patched = await service.call('PATCH', '/v1/quotas', {})
  t.match(patched, { status: 405, json: { code: 'method_not_allowed' } })
  t.match(patched.headers.get('allow'), /GET.*PUT/)
  t.match(await service.call('GET', `/v1/reservations/${'x'.repeat(600)}`), {
    status: 414,
    json: { code: 'uri_too_long' },
  })
  t.match(await service.call('GET', '/v1/reservations/01980000-0000-7000-8000-000000000000'), { status: 404 })
  t.match(
    await service.call('POST', '/v1/reservations/01980000-0000-7000-8000-000000000000/commit', { actual_cost_usd: 1 }),
    { status: 404 },
  )
  t.match(await service.call('GET', '/%E0%A4%A'), { status: 400, json: { code: 'invalid_request' } })
})

t.test('only query strings are coerced, and infinite numbers and unknown fields are refused', async (t) => {
  const queries: [path: string, pointer: string][] = [
    ['/v1/api-keys?limit=Infinity', 'limit'],
    ['/v1/api-keys?limit=1e999', 'limit'],
    ['/v1/costs?top=-Infinity', 'top'],
    [`/v1/reservations/${id}?colour=red`, 'colour'],
    ['/v1/integrity?tenant_id=good', 'tenant_id'],
  ]
  for (const [path, pointer] of queries) {
    t.match(await service.call('GET', path), { status: 400, json: { errors: [{ pointer }] } }, path)
  }
  t.match(await service.call('GET', '/v1/api-keys?limit=7'), { status: 200 })
})

t.test('bytes that are not UTF-8 are refused, but the replacement character U+FFFD is accepted', async (t) => {
  const send = async (tenant: Buffer) => {
    const body = Buffer.concat([Buffer.from('{"tenant_id":"'), tenant, Buffer.from('"}')])
    const headers = { ...caller, 'content-type': 'application/json' }
    const response = await fetch(`${service.url}/v1/reservations`, { method: 'POST', headers, body })
    return { status: response.status, json: (await response.json()) as object }
  }
  t.match(await send(Buffer.from([0xff])), {
    status: 400,
    json: { errors: [{ pointer: '', message: 'is not UTF-8' }] },
  })
  t.match(await send(Buffer.from('\ufffd')), { status: 400, json: { errors: [{ pointer: '/resource_type' }] } })
})

t.test('without a valid key nothing is done', async (t) => {
  for (const authorization of ['', 'Bearer', 'Bearer nonsense', 'Basic dXNlcjpwYXNz', `Bearer ${long}`]) {
    const answer = await service.call('POST', '/v1/reservations', reserve, { authorization })
    t.match(answer, { status: 401, json: { code: 'unauthenticated' } }, JSON.stringify(authorization.slice(0, 20)))
    t.equal(answer.headers.get('www-authenticate'), 'Bearer')
  }
  t.match(await service.call('PUT', '/v1/quotas', { scope: 'platform', period: 'day', limit_usd: 1 }, caller), {
    status: 403,
    json: { code: 'forbidden' },
  })
  t.match(await service.call('POST', '/v1/api-keys', { name: 'x', role: 'admin' }, caller), { status: 403 })
})

t.test('none of the requests above wrote anything', async (t) => {
  t.equal(await written(), before)
})

t.test('every answer has its request id', async (t) => {
  const given = await service.call('GET', '/v1/nothing', undefined, { 'x-request-id': 'mine-7' })
  t.equal(given.headers.get('x-request-id'), 'mine-7')
  t.equal(given.json.request_id, 'mine-7')
  const made = await service.call('GET', '/v1/nothing', undefined, { 'x-request-id': 'has blanks' })
  t.match(made.headers.get('x-request-id'), /^[0-9a-f-]{36}$/)
})
