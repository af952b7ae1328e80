// A repeat is recognised by what the request means, not by how it is spelled.
import stringify from 'safe-stable-stringify'
import { createHash } from 'node:crypto'
import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const { pool } = database
const service = await startService(t, database.url)
const caller = await service.keyFor('service')
await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'acme', period: 'total', limit_usd: 1_000_000 })
// Loads the tokenizer, which may take longer than the deadline of a decision.
await service.call('POST', '/v1/estimates', {
  resource_type: 'llm',
  llm: { provider: 'openai', model: 'gpt-6.1-sol', text: 'a', max_output_tokens: 0 },
})

/** Two requests, or parts of them, as JSON text or as a value. */
type Pairs = [name: string, one: object | string, other: object | string][]

const json = (part: object | string) => (typeof part === 'string' ? part : JSON.stringify(part))
const merged = (base: object, part: object | string) =>
  `${JSON.stringify(base).slice(0, -1)}${json(part) === '{}' ? '' : ','}${json(part).slice(1)}`

let keys = 0
const newKey = () => `key-${++keys}`
const reserve = (body: string, key: string) =>
  service.call('POST', '/v1/reservations', body, { ...caller, 'idempotency-key': key })
const commit = (id: string, body: string) => service.call('POST', `/v1/reservations/${id}/commit`, body, caller)
const record = (body: string) => service.call('POST', '/v1/cost-records', `{"records":[${body}]}`, caller)

const money = { resource_type: 'llm', tenant_id: 'acme', estimated_cost_usd: 0.25 }
const model = { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 1_000, max_output_tokens: 500 }
const call = { resource_type: 'llm', tenant_id: 'acme', llm: model }
const run = { resource_type: 'e2b', tenant_id: 'acme', e2b: { max_seconds: 600 } }
const SAME_RESERVATIONS: Pairs = [
  ['a number and a decimal string', money, { ...money, estimated_cost_usd: '0.25' }],
  ['trailing zeros', money, '{"resource_type":"llm","tenant_id":"acme","estimated_cost_usd":0.2500}'],
  ['an exponent', money, '{"resource_type":"llm","tenant_id":"acme","estimated_cost_usd":25e-2}'],
  [
    'what is rounded away',
    { ...money, estimated_cost_usd: 0.30000000000000004 },
    { ...money, estimated_cost_usd: 0.3 },
  ],
  ['the order of fields', money, '{"estimated_cost_usd":0.25,"tenant_id":"acme","resource_type":"llm"}'],
  [
    'null and nothing',
    money,
    { ...money, user_id: null, conversation_id: null, path_id: null, labels: {}, allow_caps: false },
  ],
  ['the default time and policy of a call', call, { ...call, ttl_seconds: 120, on_expiry: 'release' }],
  ['the order of labels', { ...money, labels: { a: 'x', b: 'y' } }, { ...money, labels: { b: 'y', a: 'x' } }],
  [
    'no cache, no searches, no tier and no region',
    call,
    {
      ...call,
      llm: { ...model, cache_read_tokens: 0, max_web_searches: 0, service_tier: null, region: null },
    },
  ],
  ['the order of fields of a call', call, { ...call, llm: Object.fromEntries(Object.entries(model).toReversed()) }],
  [
    'the defaults of a sandbox',
    run,
    {
      ...run,
      user_id: null,
      ttl_seconds: 660,
      on_expiry: 'charge',
      e2b: { max_seconds: 600, tier: 'standard', region: 'us-east-1' },
    },
  ],
  [
    'a size with decimals',
    merged({ resource_type: 'e2b', tenant_id: 'acme' }, '{"e2b":{"max_seconds":6e2,"vcpu":2.0,"memory_mib":1024}}'),
    { ...run, e2b: { region: null, max_seconds: 600, memory_mib: 1_024, vcpu: 2 } },
  ],
]
const OTHER_RESERVATIONS: Pairs = [
  ['another amount', money, { ...money, estimated_cost_usd: '0.250000000001' }],
  ['another user', money, { ...money, user_id: 'u' }],
  ['a label', money, { ...money, labels: { a: 'x' } }],
  ['a label’s value under another name', { ...money, labels: { a: 'x' } }, { ...money, labels: { b: 'x' } }],
  ['another time to live', call, { ...call, ttl_seconds: 121 }],
  ['another policy', call, { ...call, on_expiry: 'charge' }],
  ['permission for caps', call, { ...call, allow_caps: true }],
  ['more output', call, { ...call, llm: { ...model, max_output_tokens: 501 } }],
  ['another tier', call, { ...call, llm: { ...model, service_tier: 'batch' } }],
  ['cached input', call, { ...call, llm: { ...model, cache_read_tokens: 10 } }],
  ['a text of as many tokens', call, { ...call, llm: { ...model, input_tokens: undefined, text: 'a '.repeat(1_000) } }],
  ['a longer run', run, { ...run, e2b: { max_seconds: 600.5 } }],
  ['another size', run, { ...run, e2b: { max_seconds: 600, vcpu: 2, memory_mib: 1_024 } }],
  ['another resource', money, { ...money, resource_type: 'e2b' }],
]

for (const [name, one, other] of SAME_RESERVATIONS) {
  t.test(`two spellings of a reservation are the same request: ${name}`, async (t) => {
    const key = newKey()
    const first = await reserve(json(one), key)
    t.equal(first.status, 201, first.text)
    t.equal(first.headers.get('idempotency-replayed'), null)
    for (const body of [other, one]) {
      const again = await reserve(json(body), key)
      t.match(again, { status: 201, json: { reservation_id: first.json.reservation_id } }, again.text)
      t.equal(again.headers.get('idempotency-replayed'), 'true')
    }
  })
}

for (const [name, one, other] of OTHER_RESERVATIONS) {
  t.test(`a changed reservation is another request: ${name}`, async (t) => {
    const key = newKey()
    t.equal((await reserve(json(one), key)).status, 201)
    t.match(await reserve(json(other), key), { status: 422, json: { code: 'idempotency_mismatch' } })
  })
}

t.test('twenty concurrent spellings of one request make one hold', async (t) => {
  const key = newKey()
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      reserve(`{"resource_type":"llm","tenant_id":"acme","estimated_cost_usd":"0.25${'0'.repeat(n)}"}`, key),
    ),
  )
  t.same(new Set(answers.map(({ status }) => status)), new Set([201]))
  t.equal(new Set(answers.map(({ json: answer }) => answer.reservation_id)).size, 1)
  t.equal(answers.filter(({ headers }) => headers.get('idempotency-replayed') === null).length, 1)
})

const usage = { input_tokens: 1_000, output_tokens: 200 }
const started = { started_at: '2026-11-24T10:00:00Z', ended_at: '2026-11-24T10:00:01.25Z', outcome: 'success' }
const SAME_COMMITS: Pairs = [
  ['a number and a decimal string', { actual_cost_usd: 0.03 }, { actual_cost_usd: '0.030' }],
  ['quantities of 0', { usage }, { usage: { ...usage, cache_read_tokens: 0, reasoning_tokens: 0, requests: 1 } }],
  [
    'the provider’s own usage, and what it means',
    { usage },
    { provider_usage: { prompt_tokens: 1_000, completion_tokens: 200, total_tokens: 1_200 } },
  ],
  [
    'null, and an object that says nothing',
    { usage },
    { usage, sandbox_id: null, call: {}, execution: {}, resources: {} },
  ],
  ['no error', { usage, call: started }, { call: { ...started, error: null }, usage }],
  [
    'the zone, the letters and the digits of its times',
    { usage, call: started },
    {
      usage,
      call: {
        outcome: 'success',
        started_at: '2026-11-24t12:00:00.000+02:00',
        ended_at: '2026-11-24T10:00:01.2500009z',
      },
    },
  ],
]
const OTHER_COMMITS: Pairs = [
  ['another amount', { actual_cost_usd: 0.03 }, { actual_cost_usd: 0.031 }],
  ['other tokens', { usage }, { usage: { ...usage, reasoning_tokens: 1 } }],
  ['a size of context', { usage }, { usage: { ...usage, search_context: 'low' } }],
  ['no request', { usage }, { usage: { ...usage, requests: 0 } }],
  ['another tier', { usage }, { usage: { ...usage, service_tier: 'batch' } }],
  ['another model', { usage }, { usage, model: 'gpt-5.6-sol' }],
  ['another outcome', { usage, call: started }, { usage, call: { ...started, outcome: 'error' } }],
  ['another end', { usage, call: started }, { usage, call: { ...started, ended_at: '2026-11-24T10:00:01.250001Z' } }],
]

for (const [name, one, other] of SAME_COMMITS) {
  t.test(`two spellings of a commit are the same request: ${name}`, async (t) => {
    const { json: held } = await reserve(json(call), newKey())
    const first = await commit(held.reservation_id, json(one))
    t.equal(first.status, 200, first.text)
    const { quotas: _, ...answer } = first.json
    for (const body of [other, one])
      t.match(await commit(held.reservation_id, json(body)), { status: 200, json: answer })
  })
}

for (const [name, one, other] of OTHER_COMMITS) {
  t.test(`a changed commit is another request: ${name}`, async (t) => {
    const { json: held } = await reserve(json(call), newKey())
    t.equal((await commit(held.reservation_id, json(one))).status, 200)
    const conflict = await commit(held.reservation_id, json(other))
    t.match(conflict, { status: 409, json: { code: 'reservation_committed' } }, conflict.text)
  })
}

const now = new Date()
const second = (ms: number) => `${new Date(ms).toISOString().slice(0, 19)}Z`
const spent = { resource_type: 'llm', tenant_id: 'acme', occurred_at: second(now.getTime()) }
const called = { ...spent, llm: { provider: 'openai', model: 'gpt-6.1-sol', usage } }
const ran = { ...spent, resource_type: 'e2b' }
const eastern = `${new Date(now.getTime() + 7_200_000).toISOString().slice(0, 19)}.0000000+02:00`
const SAME_RECORDS: Pairs = [
  ['a number and a decimal string', { ...spent, cost_usd: 0.25 }, { ...spent, cost_usd: '0.250' }],
  ['null and nothing', { ...spent, cost_usd: 1 }, { ...spent, cost_usd: 1, user_id: null, path_id: null, labels: {} }],
  ['the zone and digits of its time', { ...spent, cost_usd: 1 }, { ...spent, cost_usd: 1, occurred_at: eastern }],
  [
    'the provider’s own usage, and what it means',
    called,
    {
      ...called,
      llm: {
        provider_usage: { completion_tokens: 200, prompt_tokens: 1_000 },
        model: 'gpt-6.1-sol',
        provider: 'openai',
        service_tier: null,
        region: null,
      },
    },
  ],
  [
    'the defaults of a sandbox',
    { ...ran, e2b: { seconds: 60 } },
    { ...ran, e2b: { tier: 'standard', region: 'us-east-1', seconds: 60.0 } },
  ],
]
const OTHER_RECORDS: Pairs = [
  ['another amount', { ...spent, cost_usd: 0.25 }, { ...spent, cost_usd: 0.26 }],
  ['another user', { ...spent, cost_usd: 1 }, { ...spent, cost_usd: 1, user_id: 'u' }],
  ['another time', { ...spent, cost_usd: 1 }, { ...spent, cost_usd: 1, occurred_at: second(now.getTime() - 1_000) }],
  ['no time', { ...spent, cost_usd: 1 }, { ...spent, cost_usd: 1, occurred_at: undefined }],
  ['a model for the same amount', { ...spent, cost_usd: 1 }, { ...spent, cost_usd: 1, llm: { model: 'gpt-6.1-sol' } }],
  ['another region', called, { ...called, llm: { ...called.llm, region: 'us' } }],
  ['a longer run', { ...ran, e2b: { seconds: 60 } }, { ...ran, e2b: { seconds: 61 } }],
]

for (const [name, one, other] of SAME_RECORDS) {
  t.test(`two spellings of a direct record are the same request: ${name}`, async (t) => {
    const keyed = (body: object | string, key: string) => merged({ idempotency_key: key }, body)
    const key = newKey()
    const first = await record(keyed(one, key))
    t.match(first, { status: 201, json: { data: [{ replayed: false }] } }, first.text)
    const again = { cost_record_id: first.json.data[0].cost_record_id, replayed: true }
    for (const body of [other, one]) {
      t.match(await record(keyed(body, key)), { status: 201, json: { data: [again] } })
    }
    // The same record twice in one list.
    const two = await record(`${keyed(one, newKey())},${keyed(other, `key-${keys}`)}`)
    t.match(two, { status: 201, json: { data: [{ replayed: false }, { replayed: true }] } }, two.text)
  })
}

for (const [name, one, other] of OTHER_RECORDS) {
  t.test(`a changed direct record is another request: ${name}`, async (t) => {
    const key = newKey()
    t.equal((await record(merged({ idempotency_key: key }, one))).status, 201)
    t.match(await record(merged({ idempotency_key: key }, other)), { status: 422 })
  })
}

/** How the previous release hashed a request: by its text, with the fields in any order. */
const hashOfWords = (words: object) => createHash('sha256').update(stringify(words)).digest()

t.test('a request stored by the previous release still answers its repeats when worded the same', async (t) => {
  const body = { ...call, user_id: null, labels: {} }
  const key = newKey()
  const { json: held } = await reserve(json(body), key)
  const { json: settled } = await reserve(json(body), newKey())
  const done = { usage, call: { started_at: '2026-11-24t12:00:00.1234567+02:00' } }
  const first = await commit(settled.reservation_id, json(done))
  const line = { ...spent, occurred_at: eastern, cost_usd: '0.250', idempotency_key: newKey() }
  const recorded = await record(json(line))
  // Rows as the previous release would have left them.
  await pool.query(
    'update copilot_internal.reservations set request_hash = $1, commit_hash = case when commit_hash is null then null else $2::bytea end',
    [hashOfWords(body), hashOfWords(done)],
  )
  await pool.query('update copilot_internal.record_keys set request_hash = $2 where idempotency_key = $1', [
    line.idempotency_key,
    hashOfWords(line),
  ])

  const again = await reserve(json(body), key)
  t.match(again, { status: 201, json: { reservation_id: held.reservation_id } }, again.text)
  t.match(await reserve(json(call), key), { status: 422 }, 'other wording was another request in the previous release')
  t.match(await commit(settled.reservation_id, json(done)), {
    status: 200,
    json: { cost_record_id: first.json.cost_record_id },
  })
  t.equal((await commit(settled.reservation_id, json({ usage }))).status, 409)
  t.match(await record(json(line)), {
    status: 201,
    json: { data: [{ replayed: true, cost_record_id: recorded.json.data[0].cost_record_id }] },
  })
  t.equal((await record(json({ ...line, cost_usd: 0.25 }))).status, 422)
  // This release commits a hold of the previous one.
  const committed = await commit(held.reservation_id, json({ usage }))
  t.equal(committed.status, 200)
  t.match(await commit(held.reservation_id, json({ usage: { ...usage, requests: 1 } })), {
    status: 200,
    json: { cost_record_id: committed.json.cost_record_id },
  })
  await assertHealthy(t, pool)
})
