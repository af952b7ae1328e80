import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)
const caller = await service.keyFor('service')

const call = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  service.call(method, path, body, { ...caller, ...headers })

function modelCall(tenantId: string, more: object = {}) {
  return {
    resource_type: 'llm',
    tenant_id: tenantId,
    llm: { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 12_000, max_output_tokens: 2_000 },
    ...more,
  }
}

async function count(table: string, tenantId: string): Promise<number> {
  const { rows } = await database.pool.query<{ n: number }>(
    `select count(*)::integer as n from copilot_internal.${table} where tenant_id = $1`,
    [tenantId],
  )
  return rows[0]!.n
}

t.test('a model call is held at its highest possible cost and committed at its real cost', async (t) => {
  const held = await call(
    'POST',
    '/v1/reservations',
    modelCall('first', { user_id: 'u-1', labels: { feature: 'chat' } }),
  )
  t.equal(held.status, 201)
  t.match(held.json, { status: 'reserved', resource_type: 'llm', tenant_id: 'first', caps: null, warnings: [] })
  t.match(held.text, '"reserved_usd":0.05,', '12,000 x 2.5 + 2,000 x 10 USD per million')
  t.match(held.json.quotas, [
    {
      scope: 'tenant',
      scope_id: 'first',
      period: 'day',
      enforcement: 'enforce',
      limit_usd: 50,
      spent_usd: 0,
      reserved_usd: 0.05,
      remaining_usd: 49.95,
    },
  ])
  const { reservation_id: id, created_at: created, expires_at: expires } = held.json
  t.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/, 'a UUIDv7')
  t.equal(Date.parse(expires) - Date.parse(created), 120_000)

  const usage = { input_tokens: 12_362, cache_read_tokens: 4_096, output_tokens: 640 }
  const committed = await call('POST', `/v1/reservations/${id}/commit`, { usage })
  t.equal(committed.status, 200)
  // (12,362 - 4,096) x 2 + 4,096 x 0.1 + 640 x 10, by the million
  t.match(committed.text, '"cost_usd":0.0233416,"reserved_usd":0.05,"released_usd":0.0266584,"overrun_usd":0,')
  t.match(committed.json, { status: 'committed', late: false, estimated: false, price_id: held.json.price_id })
  t.match(committed.json.quotas, [{ spent_usd: 0.0233416, reserved_usd: 0 }])

  const read = await call('GET', `/v1/reservations/${id}`)
  t.match(read.json, {
    status: 'committed',
    user_id: 'u-1',
    labels: { feature: 'chat' },
    on_expiry: 'release',
    cost_usd: 0.0233416,
    cost_record_ids: [committed.json.cost_record_id],
  })
})

t.test('a provider’s usage object is priced unchanged', async (t) => {
  const forms = [
    // OpenAI chat: the cached tokens are part of the prompt. 7,904 x 2 + 4,096 x 0.1 + 640 x 10.
    [
      {
        prompt_tokens: 12_000,
        completion_tokens: 640,
        total_tokens: 12_640,
        prompt_tokens_details: { cached_tokens: 4_096 },
      },
      0.0226176,
    ],
    // OpenAI responses: the same counts under other names.
    [
      {
        input_tokens: 12_000,
        output_tokens: 640,
        total_tokens: 12_640,
        input_tokens_details: { cached_tokens: 4_096 },
      },
      0.0226176,
    ],
    // Anthropic, with another model: the cached tokens are added. 7,904 x 4 + 4,096 x 0.2 + 640 x 20.
    [
      { input_tokens: 7_904, cache_read_input_tokens: 4_096, cache_creation_input_tokens: 0, output_tokens: 640 },
      0.0452352,
      { provider: 'anthropic', model: 'claude-opus-5-5' },
    ],
    // Gemini: thoughts are output in addition to the candidates. 7,904 x 1.25 + 4,096 x 0.125 + 640 x 10.
    [
      { promptTokenCount: 12_000, cachedContentTokenCount: 4_096, candidatesTokenCount: 600, thoughtsTokenCount: 40 },
      0.016792,
      { provider: 'google', model: 'gemini-2.5-pro' },
    ],
  ] as const
  for (const [usage, cost, answered = {}] of forms) {
    const held = await call('POST', '/v1/reservations', modelCall('forms'))
    const committed = await call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
      provider_usage: usage,
      ...answered,
    })
    t.equal(committed.json.cost_usd, cost, Object.keys(usage)[0]!)
  }
})

t.test('a sandbox is held for its maximum seconds and committed for the seconds it ran', async (t) => {
  const body = {
    resource_type: 'e2b',
    tenant_id: 'boxes',
    conversation_id: 'c-9',
    e2b: { tier: 'medium', max_seconds: 1800 },
  }
  const held = await call('POST', '/v1/reservations', body)
  t.equal(held.status, 201)
  // 1,800 x (2 x 0.000014 + 2 x 0.0000045)
  t.equal(held.json.reserved_usd, 0.0666)
  t.equal(
    Date.parse(held.json.expires_at) - Date.parse(held.json.created_at),
    1_860_000,
    'the hold lives one minute longer than the sandbox',
  )
  const committed = await call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
    usage: { seconds: 412.6 },
    sandbox_id: 'sbx_1',
  })
  t.equal(committed.json.cost_usd, 0.0152662)
  t.equal((await call('GET', `/v1/reservations/${held.json.reservation_id}`)).json.on_expiry, 'charge')

  const own = await call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    tenant_id: 'boxes',
    e2b: { vcpu: 2, memory_mib: 2048, max_seconds: 1800 },
  })
  t.equal(own.json.reserved_usd, 0.0666, 'a custom size is priced at the standard rates')
  const none = await call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    tenant_id: 'boxes',
    e2b: { max_seconds: 1000 },
  })
  t.equal(none.json.reserved_usd, 0.03025, 'no size means tier standard')
})

t.test('a caller’s own estimate is held exactly and committed as an amount', async (t) => {
  const held = await call(
    'POST',
    '/v1/reservations',
    '{"resource_type":"llm","tenant_id":"own","estimated_cost_usd":0.30000000000000004}',
  )
  t.match(held.text, '"reserved_usd":0.3,')
  const text = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'own',
    estimated_cost_usd: '0.0000000000015',
  })
  t.match(text.text, '"reserved_usd":0.000000000002,', 'half up at the 12th decimal, and no exponent')
  const many = await call(
    'POST',
    '/v1/reservations',
    '{"resource_type":"llm","tenant_id":"own","estimated_cost_usd":12.123456789012}',
  )
  t.match(many.text, '"reserved_usd":12.123456789012,')
  const id = held.json.reservation_id
  t.match(await call('POST', `/v1/reservations/${id}/commit`, { usage: { input_tokens: 1 } }), {
    status: 400,
    json: { errors: [{ pointer: '/model' }] },
  })
  t.match(
    await call('POST', `/v1/reservations/${id}/commit`, { usage: { input_tokens: 1 }, model: 'gpt-6.1-sol' }),
    { status: 400, json: { errors: [{ pointer: '/provider' }] } },
    'a model without a provider has no price',
  )
  t.match(await call('POST', `/v1/reservations/${id}/commit`, { usage: { seconds: 1 } }), {
    status: 400,
    json: { errors: [{ pointer: '/usage/seconds' }] },
  })
  const byModel = await call('POST', `/v1/reservations/${id}/commit`, {
    usage: { input_tokens: 200_000 },
    provider: 'openai',
    model: 'gpt-6.1-sol',
  })
  t.match(byModel.json, { cost_usd: 0.4, overrun_usd: 0.1, released_usd: 0 })
  const paid = await call('POST', `/v1/reservations/${text.json.reservation_id}/commit`, { actual_cost_usd: 0.03 })
  t.equal(paid.json.cost_usd, 0.03)
})

t.test('numbers are accepted in the forms in which other languages write doubles', async (t) => {
  const own = async (amount: string) =>
    call('POST', '/v1/reservations', `{"resource_type":"llm","tenant_id":"doubles","estimated_cost_usd":${amount}}`)
  t.match(await own('2.9999999999999997e-05'), { status: 201, json: { reserved_usd: 0.00003 } }, 'as Python')
  t.match(await own('3.0000000000000004e-7'), { status: 201, json: { reserved_usd: 3e-7 } }, 'as JavaScript')
  t.match(await own('0.10000000000000001'), { status: 201, json: { reserved_usd: 0.1 } }, 'as %.17g')
  t.match((await own(`"2.9999999999999997e-05"`)).json.errors, [{ pointer: '/estimated_cost_usd' }])

  const sandbox =
    '{"resource_type":"e2b","tenant_id":"doubles","e2b":{"tier":"medium","max_seconds":412.60000000000002}}'
  const held = await call('POST', '/v1/reservations', sandbox)
  t.match(held, { status: 201, json: { reserved_usd: 0.0152662 } })
  const id = held.json.reservation_id
  const usage = (seconds: string) =>
    call('POST', `/v1/reservations/${id}/commit`, `{"usage":{"seconds":${seconds}},"sandbox_id":"sbx_7"}`)
  t.match(await usage('10000000.000000001'), { status: 400, json: { errors: [{ message: 'must be <= 10000000' }] } })
  t.match(await usage('"412.6"'), { status: 400, json: { errors: [{ message: 'must be number' }] } })
  t.match(await usage('4.1260000000000002e+02'), { status: 200, json: { cost_usd: 0.0152662 } })
})

t.test('a refusal lists every violated quota and changes nothing', async (t) => {
  await call('POST', '/v1/reservations', { resource_type: 'llm', tenant_id: 'poor', estimated_cost_usd: 49.6 })
  const before = await count('reservations', 'poor')
  const refused = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'poor',
    estimated_cost_usd: 1.25,
  })
  t.equal(refused.status, 429)
  t.match(refused.headers.get('content-type'), 'application/problem+json')
  const { period_starts_at: starts, period_ends_at: ends } = refused.json
  t.same(refused.json, {
    type: '/problems/quota-exceeded',
    title: 'Quota exceeded',
    status: 429,
    detail: 'tenant poor has 0.40 of 50.00 USD left today; 1.25 was asked for',
    instance: '/v1/reservations',
    code: 'quota_exceeded',
    request_id: refused.headers.get('x-request-id'),
    error: 'quota_exceeded',
    resource_type: 'llm',
    scope: 'tenant',
    scope_id: 'poor',
    period: 'day',
    current_spend_usd: 0,
    reserved_usd: 49.6,
    limit_usd: 50,
    overage_usd: 0.85,
    period_starts_at: starts,
    period_ends_at: ends,
    reset_at: ends,
    requested_usd: 1.25,
    largest_allowed_usd: 0.4,
    violations: [
      {
        quota_id: refused.json.violations[0].quota_id,
        scope: 'tenant',
        scope_id: 'poor',
        period: 'day',
        limit_usd: 50,
        spent_usd: 0,
        reserved_usd: 49.6,
        remaining_usd: 0.4,
        reset_at: ends,
      },
    ],
  })
  t.match(starts, /^\d{4}-\d\d-\d\dT00:00:00Z$/)
  t.equal(Date.parse(ends) - Date.parse(starts), 86_400_000)
  const wait = Number(refused.headers.get('retry-after'))
  t.ok(wait > 0 && wait <= 86_400, 'Retry-After is at most until tomorrow')
  t.equal(refused.headers.get('ratelimit-policy'), '"tenant-day";q=50000000;w=86400;qu="usd-micros"')
  t.match(refused.headers.get('ratelimit'), /^"tenant-day";r=400000;t=\d+$/)
  t.equal(await count('reservations', 'poor'), before)

  const hopeless = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'poor',
    estimated_cost_usd: 51,
  })
  t.equal(hopeless.headers.get('retry-after'), null, 'more than the limit: waiting does not help')
})

t.test('the violated quota that resets last heads a refusal, and a total has no Retry-After', async (t) => {
  for (const period of ['hour', 'total']) {
    await service.call('PUT', '/v1/quotas', { scope: 'user', tenant_id: 'deep', user_id: 'u', period, limit_usd: 1 })
  }
  const refused = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'deep',
    user_id: 'u',
    estimated_cost_usd: 2,
  })
  t.match(refused.json, {
    scope: 'user',
    scope_id: 'u',
    period: 'total',
    reset_at: '9999-12-31T00:00:00Z',
    largest_allowed_usd: 1,
  })
  t.same(refused.json.violations.map((violation: { period: string }) => violation.period).toSorted(), ['hour', 'total'])
  t.equal(refused.headers.get('retry-after'), null)
})

t.test('an idempotency key replays its first answer', async (t) => {
  const first = await call('POST', '/v1/reservations', modelCall('again'), { 'idempotency-key': '"k 1"' })
  const again = await call('POST', '/v1/reservations', modelCall('again'), { 'idempotency-key': '"k 1"' })
  t.equal(again.status, 201)
  t.equal(again.headers.get('idempotency-replayed'), 'true')
  t.equal(first.headers.get('idempotency-replayed'), null)
  t.same(again.json, first.json)
  const reordered = await call(
    'POST',
    '/v1/reservations',
    '{"llm":{"max_output_tokens":2000,"model":"gpt-6.1-sol","input_tokens":12000,"provider":"openai"},"tenant_id":"again","resource_type":"llm"}',
    { 'idempotency-key': '"k 1"' },
  )
  t.equal(reordered.json.reservation_id, first.json.reservation_id, 'the order of fields does not matter')

  const other = await call('POST', '/v1/reservations', modelCall('again', { user_id: 'u' }), {
    'idempotency-key': '"k 1"',
  })
  t.match(other, { status: 422, json: { code: 'idempotency_mismatch' } })
  await call('POST', `/v1/reservations/${first.json.reservation_id}/release`, { reason: 'not needed' })
  t.equal(
    (await call('POST', '/v1/reservations', modelCall('again'), { 'idempotency-key': '"k 1"' })).json.status,
    'released',
    'the replay shows the current status',
  )
  t.equal(await count('reservations', 'again'), 1)

  const stranger = await service.keyFor('service')
  const theirs = await call('POST', '/v1/reservations', modelCall('again'), { 'idempotency-key': '"k 1"', ...stranger })
  t.not(theirs.json.reservation_id, first.json.reservation_id, 'each principal has its own idempotency keys')
  for (const key of ['"unclosed', '', 'two words', 'x'.repeat(256), '"bad \\n"']) {
    t.equal(
      (await call('POST', '/v1/reservations', modelCall('again'), { 'idempotency-key': key })).status,
      400,
      JSON.stringify(key),
    )
  }
})

t.test('a retry with the same key after a refusal is decided again', async (t) => {
  const body = { resource_type: 'llm', tenant_id: 'afresh', estimated_cost_usd: 60 }
  const headers = { 'idempotency-key': 'fresh-1' }
  t.equal((await call('POST', '/v1/reservations', body, headers)).status, 429)
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'afresh', period: 'day', limit_usd: 100 })
  const granted = await call('POST', '/v1/reservations', body, headers)
  t.equal(granted.status, 201)
  t.equal(granted.headers.get('idempotency-replayed'), null)
})

t.test('twenty concurrent requests with one key make one reservation', async (t) => {
  const all = await Promise.all(
    Array.from({ length: 20 }, () =>
      call('POST', '/v1/reservations', modelCall('twenty'), { 'idempotency-key': 'one' }),
    ),
  )
  t.same([...new Set(all.map(({ status }) => status))], [201])
  t.equal(new Set(all.map(({ json }) => json.reservation_id)).size, 1)
  t.equal(all.filter(({ headers }) => headers.get('idempotency-replayed') === null).length, 1)
  t.equal(await count('reservations', 'twenty'), 1)
})

t.test('a repeated commit answers the same and books once', async (t) => {
  const held = await call('POST', '/v1/reservations', modelCall('once'))
  const path = `/v1/reservations/${held.json.reservation_id}/commit`
  const body = { usage: { input_tokens: 100, output_tokens: 10 } }
  const all = await Promise.all(Array.from({ length: 8 }, () => call('POST', path, body)))
  for (const { status, text } of all) t.same([status, text], [200, all[0]!.text])
  t.match(await call('POST', path, { usage: { input_tokens: 100, output_tokens: 11 } }), {
    status: 409,
    json: { code: 'reservation_committed' },
  })
  t.match(await call('POST', `/v1/reservations/${held.json.reservation_id}/release`, {}), {
    status: 409,
    json: { code: 'reservation_committed' },
  })
  t.equal(await count('llm_cost_records', 'once'), 1)
})

t.test('a commit of ten times the hold is booked, and later reservations are refused', async (t) => {
  const held = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'overrun',
    estimated_cost_usd: 6,
  })
  const committed = await call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, { actual_cost_usd: 60 })
  t.match(committed.json, { cost_usd: 60, reserved_usd: 6, released_usd: 0, overrun_usd: 54, late: false })
  t.match(committed.json.warnings, [{ code: 'quota_exceeded' }])
  const refused = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'overrun',
    estimated_cost_usd: 0.01,
  })
  t.match(refused.json, { code: 'quota_exceeded', current_spend_usd: 60, largest_allowed_usd: 0, overage_usd: 10.01 })
  t.match(await service.call('GET', '/v1/cost-records?tenant_id=overrun'), {
    json: { data: [{ overrun: true, cost_usd: 60 }] },
  })
})

t.test('a commit after release is booked, late', async (t) => {
  const held = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'late',
    estimated_cost_usd: 1,
  })
  const path = `/v1/reservations/${held.json.reservation_id}`
  t.match(await call('POST', `${path}/release`, { reason: 'cancelled' }), {
    status: 200,
    json: { status: 'released', released_usd: 1, reason: 'cancelled' },
  })
  t.match(
    (await call('POST', `${path}/release`, { reason: 'another' })).json,
    { status: 'released', reason: 'cancelled' },
    'a repeat answers the same',
  )
  t.match((await call('POST', `${path}/release`)).json, { status: 'released' }, 'a body is optional')
  const committed = await call('POST', `${path}/commit`, { actual_cost_usd: 0.75 })
  t.match(committed.json, { cost_usd: 0.75, late: true, released_usd: 0, overrun_usd: 0 })
  t.match(committed.json.quotas, [{ spent_usd: 0.75, reserved_usd: 0 }])
})

t.test('a request that is neither granted nor refused is a 503, never a 201', async (t) => {
  const keyed = (key: string) => call('POST', '/v1/reservations', modelCall('neither'), { 'idempotency-key': key })
  t.equal((await keyed('once')).status, 201)
  // Simulates that the first reservation is deleted while its request is repeated.
  const name = 'copilot_internal.reserve_outcomes(copilot_internal.reserve_item[], numeric[], numeric[], text[])'
  await database.pool.query(`alter function ${name} rename to reserve_outcomes_gone`)
  await database.pool.query(`create function ${name} returns json language sql as $$ select '[null]'::json $$`)
  const answer = await keyed('once')
  await database.pool.query(`drop function ${name}`)
  await database.pool.query(
    `alter function ${name.replace('reserve_outcomes', 'reserve_outcomes_gone')} rename to reserve_outcomes`,
  )
  t.match(answer, { status: 503, json: { code: 'unavailable' } })
  t.equal((await keyed('once')).headers.get('idempotency-replayed'), 'true')
})

t.test('caps can grant more tokens than a 32-bit integer holds', async (t) => {
  const most = { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 0, max_output_tokens: 1_000_000_000_000 }
  const asked = (tenantId: string) => ({ resource_type: 'llm', tenant_id: tenantId, llm: most, allow_caps: true })
  for (const tenantId of ['endless', 'endless-too']) {
    await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: tenantId, period: 'day', limit_usd: 30_000 })
    const held = await call('POST', '/v1/reservations', asked(tenantId))
    t.match(held, { status: 201, json: { caps: { max_output_tokens: 3_000_000_000 }, reserved_usd: 30_000 } })
    t.equal(Date.parse(held.json.expires_at) - Date.parse(held.json.created_at), 120_000)
    // After a refusal the next batch is checked before it is held, and the capped amount is inserted at once.
    t.equal((await call('POST', '/v1/reservations', asked(tenantId))).status, 429)
  }
})

t.test('caps grant the largest amount that fits', async (t) => {
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'capped', period: 'day', limit_usd: 0.033129 })
  const held = await call('POST', '/v1/reservations', { ...modelCall('capped'), allow_caps: true })
  // 12,000 x 2.5 per million is 0.03; 0.003129 pays for 312 tokens at 10 per million.
  t.match(held, { status: 201, json: { caps: { max_output_tokens: 312 }, reserved_usd: 0.03312 } })
  t.equal(
    (await call('POST', '/v1/reservations', { ...modelCall('capped'), allow_caps: true })).status,
    429,
    'not one token more fits',
  )
  await service.call('PUT', '/v1/quotas', {
    resource_type: 'e2b',
    scope: 'tenant',
    tenant_id: 'capped',
    period: 'day',
    limit_usd: 0.0194,
  })
  const box = await call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    tenant_id: 'capped',
    allow_caps: true,
    e2b: { max_seconds: 1800 },
  })
  // 0.0194 / 0.00003025 = 641.3
  t.match(box, { status: 201, json: { caps: { max_runtime_seconds: 641 } } })
  t.equal(
    Date.parse(box.json.expires_at) - Date.parse(box.json.created_at),
    701_000,
    'the time to live follows the granted seconds',
  )
})

t.test('a commit prices the model that answered, and books the held amount if that has no price', async (t) => {
  const held = await call('POST', '/v1/reservations', modelCall('swap'))
  const swapped = await call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
    provider_usage: { prompt_tokens: 1_000_000, completion_tokens: 0 },
    model: 'gpt-4.1',
  })
  t.equal(swapped.json.cost_usd, 2)
  t.not(swapped.json.price_id, held.json.price_id)
  const second = await call('POST', '/v1/reservations', modelCall('swap'))
  const unknown = await call('POST', `/v1/reservations/${second.json.reservation_id}/commit`, {
    usage: { input_tokens: 10 },
    model: 'gpt-unheard-of',
  })
  t.match(unknown.json, { cost_usd: 0.05, estimated: true, price_id: null })
})

t.test('an unknown model is refused with similar names, and nothing is written', async (t) => {
  const refused = await call('POST', '/v1/reservations', {
    ...modelCall('unpriced'),
    llm: { provider: 'openai', model: 'gpt-6.1-sool', input_tokens: 1, max_output_tokens: 1 },
  })
  t.match(refused, { status: 422, json: { code: 'price_not_found', provider: 'openai', model: 'gpt-6.1-sool' } })
  t.same(refused.json.near[0], { provider: 'openai', model: 'gpt-6.1-sol' })
  t.match(
    await call('POST', '/v1/reservations', {
      resource_type: 'e2b',
      tenant_id: 'unpriced',
      e2b: { tier: 'gpu', max_seconds: 1 },
    }),
    {
      status: 422,
      json: { code: 'price_not_found', model: 'gpu' },
    },
  )
  t.equal(await count('scopes', 'unpriced'), 0)
})

t.test('every invariant holds', (t) => assertHealthy(t, database.pool))
