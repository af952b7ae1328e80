import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService, type Answer } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)
const caller = await service.keyFor('service')

const call = (method: string, path: string, body?: unknown, headers: Record<string, string> = caller) =>
  service.call(method, path, body, headers)

/** 12,000 x 2.5 + 2,000 x 10 USD per million: 0.05 USD held. */
async function hold(tenantId: string, llm: object = {}): Promise<string> {
  const held = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: tenantId,
    llm: { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 12_000, max_output_tokens: 2_000, ...llm },
  })
  return held.json.reservation_id as string
}

const commit = (id: string, body: unknown, headers?: Record<string, string>) =>
  call('POST', `/v1/reservations/${id}/commit`, body, headers)

const estimate = (llm: object) => call('POST', '/v1/estimates', { resource_type: 'llm', llm })

const codesOf = ({ json }: Answer): string[] =>
  (json.warnings as { code: string; pointer?: string }[]).map(({ code, pointer = '' }) => `${code} ${pointer}`.trim())

const eventsOf = async (type: string) => (await service.call('GET', `/v1/events?type=${type}&limit=1000`)).json.data

const usage = { input_tokens: 1_000, output_tokens: 100, total_tokens: 1_100 }

t.test('usage objects that other programs misread are priced correctly, without a warning', async (t) => {
  const file = new URL('../../prices/usage-examples.json', import.meta.url)
  const { examples } = JSON.parse(await readFile(file, 'utf8')) as {
    examples: { form: string; provider: string; model: string; provider_usage: object; cost_usd: string }[]
  }
  for (const { form, provider, model, provider_usage, cost_usd } of examples) {
    const at = '2026-11-29T00:00:00Z'
    const answer = await call('POST', '/v1/estimates', {
      resource_type: 'llm',
      at,
      llm: { provider, model, provider_usage },
    })
    t.match(answer.text, `"cost_usd":${cost_usd},`, form)
    t.same(answer.json.warnings, [], form)
  }
})

t.test('a number that no reader knows is named in the answer, and emits one event a day', async (t) => {
  const running = (tool: string) => ({ usage: { ...usage, server_tool_use: { web_search_requests: 0, [tool]: 3 } } })
  const body = running('code_runs')
  const llm = { provider: 'anthropic', model: 'claude-opus-5-5' }
  t.same(codesOf(await estimate({ ...llm, provider_usage: body })), ['usage_unread /usage/server_tool_use/code_runs'])
  t.same(await eventsOf('usage.unread'), [], 'an estimate books nothing and emits nothing')
  for (let time = 0; time < 2; time += 1) {
    const committed = await commit(await hold('unread', llm), { provider_usage: body })
    t.match(committed.json, { estimated: false, cost_usd: 0.006 }, '1,000 x 4 + 100 x 20')
    t.same(codesOf(committed), ['usage_unread /usage/server_tool_use/code_runs'])
  }
  const recorded = await call('POST', '/v1/cost-records', {
    records: [{ resource_type: 'llm', tenant_id: 'unread', llm: { ...llm, provider_usage: running('file_reads') } }],
  })
  t.match(recorded.json.data, [{ warnings: [{ code: 'usage_unread', pointer: '/usage/server_tool_use/file_reads' }] }])
  const events: { tenant_id: string | null; data: { provider: string; field: string } }[] = []
  // An answer waits at most 200 ms for its event.
  for (; events.length < 2; await sleep(20)) events.splice(0, 2, ...(await eventsOf('usage.unread')))
  t.same(events.map(({ tenant_id: tenantId, data }) => `${tenantId} ${data.provider} ${data.field}`).toSorted(), [
    'null anthropic /usage/server_tool_use/code_runs',
    'null anthropic /usage/server_tool_use/file_reads',
  ])
})

t.test('a commit with unreadable usage is booked at the reserved amount and keeps its object', async (t) => {
  const odd = {
    usageMetadata: { promptTokenCount: 10, totalTokenCount: 10 },
    answer: 'Words of a person are no usage.',
    service_tier: 'priority',
  }
  const id = await hold('unreadable')
  const committed = await commit(id, { provider_usage: odd })
  t.match(committed.json, { cost_usd: 0.05, reserved_usd: 0.05, released_usd: 0, estimated: true, price_id: null })
  t.match(committed.json.warnings, [
    {
      code: 'usage_unreadable',
      pointer: '/usageMetadata',
      detail: /Gemini's usageMetadata, which openai does not send/,
    },
  ])
  const again = await commit(id, { provider_usage: { ...odd, answer: odd.answer } })
  t.equal(again.json.cost_record_id, committed.json.cost_record_id, 'the same commit is a repeat')
  t.equal((await commit(id, { provider_usage: { other: 1 } })).status, 409, 'another commit is not a repeat')

  const { json } = await service.call('GET', `/v1/cost-records?reservation_id=${id}`)
  const { answer: _text, ...kept } = odd
  t.match(json.data, [{ estimate_reason: 'usage_unreadable', usage: {}, cost_usd: 0.05 }])
  t.same(json.data[0].unreadable_usage.provider_usage, kept, 'numbers and names are kept, free text is not')
  t.match(await eventsOf('usage.unreadable'), [
    { tenant_id: 'unreadable', data: { provider: 'openai', model: 'gpt-6.1-sol', pointer: '/usageMetadata' } },
  ])
  t.same(await eventsOf('price.missing'), [], 'no price.missing event')
})

t.test('any provider object is booked; a non-object and a wrong usage of our own form are refused', async (t) => {
  const objects = [
    {},
    { nothing: null },
    { prompt_tokens: '12', completion_tokens: 1 },
    { prompt_tokens: -1 },
    { input_tokens: 1, input_tokens_details: { audio_tokens: 2 } },
    { usage: [] },
    { many: Array.from({ length: 400 }, () => ({ a_name_that_takes_quite_a_lot_of_room: 1_234 })) },
  ]
  for (const provider_usage of objects) {
    const committed = await commit(await hold('anything'), { provider_usage })
    t.match(committed.json, { status: 'committed', cost_usd: 0.05, estimated: true }, JSON.stringify(provider_usage))
    t.match(codesOf(committed), [/^usage_unreadable/])
  }
  const { json } = await service.call('GET', '/v1/cost-records?tenant_id=anything&limit=1')
  t.equal(json.data[0].unreadable_usage.provider_usage, null, 'an object that is too large is not kept')

  const id = await hold('anything')
  for (const body of [
    { provider_usage: null },
    { provider_usage: 'tokens' },
    { provider_usage: [] },
    { usage: { input_tokens: 1, cache_read_tokens: 2 } },
    { usage: { prompt_tokens: 1 } },
  ])
    t.equal((await commit(id, body)).status, 400, JSON.stringify(body))
  t.equal((await commit(id, { usage: { input_tokens: 1 } })).json.status, 'committed', 'the hold stays unchanged')
})

t.test('unknown usage is booked at the reserved amount, once', async (t) => {
  const id = await hold('unknown')
  const committed = await commit(id, { usage_unknown: true })
  t.match(committed.json, { cost_usd: 0.05, released_usd: 0, estimated: true, warnings: [] })
  t.equal((await commit(id, { usage_unknown: true })).json.cost_record_id, committed.json.cost_record_id)
  t.equal((await commit(id, { usage: { input_tokens: 1 } })).status, 409)
  const { json } = await service.call('GET', '/v1/cost-records?tenant_id=unknown')
  t.match(json.data, [{ estimate_reason: 'usage_unknown', usage: {}, cost_usd: 0.05 }])
  const other = await hold('unknown')
  for (const body of [{ usage_unknown: false }, { usage_unknown: true, usage: { input_tokens: 1 } }])
    t.equal((await commit(other, body)).status, 400, JSON.stringify(body))
  const box = await call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    tenant_id: 'unknown',
    e2b: { max_seconds: 60 },
  })
  const ran = await commit(box.json.reservation_id, { usage_unknown: true })
  t.match(ran.json, { cost_usd: box.json.reserved_usd, estimated: true })
})

t.test('usage with names that Postgres cannot store is still booked', async (t) => {
  const odd = { modelUsage: { 'a\0\ud800': { inputTokens: 'x', costUSD: 0 } } }
  const committed = await commit(await hold('odd', { provider: 'anthropic', model: 'claude-opus-5-5' }), {
    provider_usage: odd,
  })
  t.match(committed.json, { estimated: true, status: 'committed' })
  t.same(
    codesOf(committed).map((code) => code.split(' ')[0]),
    ['usage_unreadable'],
  )
})

t.test('a commit accepts the usage of a hundred steps, and a whole embedding response', async (t) => {
  const data = [{ object: 'embedding', index: 0, embedding: Array.from({ length: 3_072 }, (_, n) => n / 1e6) }]
  const embedded = await commit(await hold('steps'), {
    ...{ provider: 'openai', model: 'text-embedding-3-large' },
    provider_usage: { object: 'list', data, usage: { prompt_tokens: 1_000, total_tokens: 1_000 } },
  })
  t.match(embedded.json, { cost_usd: 0.00013, estimated: false, warnings: [] })

  const details = { noCacheTokens: 90, cacheReadTokens: 10, cacheWriteTokens: 0 }
  const one = { inputTokens: 100, inputTokenDetails: details, outputTokens: 10, totalTokens: 110 }
  const steps = Array.from({ length: 100 }, () => ({
    usage: one,
    providerMetadata: { openai: { serviceTier: 'default' } },
  }))
  const totalUsage = { inputTokens: 10_000, inputTokenDetails: { cacheReadTokens: 1_000 }, outputTokens: 1_000 }
  const committed = await commit(await hold('steps'), { provider_usage: { totalUsage, steps } })
  t.match(committed.json, { cost_usd: 0.0281, estimated: false, warnings: [] }, '9,000 x 2 + 1,000 x 0.1 + 1,000 x 10')
})

t.test('estimates, direct records and corrections refuse unreadable usage with a pointer', async (t) => {
  const bad = { prompt_tokens: 'x' }
  const llm = { provider: 'openai', model: 'gpt-6.1-sol', provider_usage: bad }
  const refused = await estimate(llm)
  t.match(refused.json, { status: 400, errors: [{ pointer: '/llm/provider_usage/prompt_tokens' }] })
  const records = [
    { resource_type: 'llm', tenant_id: 'refused', llm: { ...llm, provider_usage: { prompt_tokens: 1 } } },
    { resource_type: 'llm', tenant_id: 'refused', llm },
  ]
  t.match((await call('POST', '/v1/cost-records', { records })).json, {
    status: 400,
    errors: [{ pointer: '/records/1/llm/provider_usage/prompt_tokens' }],
  })
  const committed = await commit(await hold('refused'), { provider_usage: bad })
  const correct = (body: object) =>
    service.call('POST', `/v1/cost-records/${committed.json.cost_record_id}/correct`, {
      reason: 'read by hand',
      ...body,
    })
  t.match((await correct({ provider_usage: bad })).json, {
    status: 400,
    errors: [{ pointer: '/provider_usage/prompt_tokens' }],
  })
  const corrected = await correct({ provider_usage: { prompt_tokens: 1_000, completion_tokens: 0, batch_runs: 2 } })
  t.match(corrected.json.data, [{ cost_usd: -0.05 }, { cost_usd: 0.002, estimated: false }])
  t.same(codesOf(corrected), ['usage_unread /batch_runs'])
})

t.test('the model that answered is the reservation’s unless the commit names another', async (t) => {
  const gemini = { promptTokenCount: 1_000, totalTokenCount: 1_000 }
  const named = await commit(await hold('who'), {
    provider: 'google',
    model: 'gemini-2.5-flash',
    provider_usage: gemini,
  })
  t.match(named.json, { cost_usd: 0.0003, estimated: false })
  t.match((await commit(await hold('who'), { provider: 'google', provider_usage: gemini })).json, {
    estimated: true,
    cost_usd: 0.05,
  })
  const own = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'who',
    estimated_cost_usd: 0.25,
  })
  const nobody = await commit(own.json.reservation_id, { provider_usage: gemini })
  t.match(nobody.json, { status: 400, errors: [{ pointer: '/model' }] })
  const box = await call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    tenant_id: 'who',
    e2b: { max_seconds: 60 },
  })
  const answered = { provider: 'openai', model: 'gpt-6.1-sol' }
  for (const more of [{}, answered]) {
    t.match((await commit(box.json.reservation_id, { provider_usage: gemini, ...more })).json, {
      status: 400,
      errors: [{ pointer: '/provider_usage' }],
    })
  }
  const stranger = await service.keyFor('service', 'stranger')
  for (const id of [await hold('who'), box.json.reservation_id])
    t.equal(
      (await commit(id, { provider_usage: gemini }, stranger)).status,
      404,
      'the answer does not even show its resource type',
    )
  t.equal((await commit('01a00000-0000-7000-8000-000000000000', { provider_usage: gemini })).status, 404)
})

t.test('a tier that the price does not name gives a warning, whether requested or served', async (t) => {
  const llm = { provider: 'groq', model: 'openai/gpt-oss-20b', service_tier: 'priority' }
  const tokens = { input_tokens: 1_000, max_output_tokens: 1_000 }
  const body = { resource_type: 'llm', tenant_id: 'tiers', llm: { ...llm, ...tokens } }
  const held = await call('POST', '/v1/reservations', body, { ...caller, 'idempotency-key': 'tiers-1' })
  t.same(codesOf(held), ['tier_unpriced'])
  t.notOk(held.headers.has('x-purser-enforcement'), 'no quota allowed it')
  const replayed = await call('POST', '/v1/reservations', body, { ...caller, 'idempotency-key': 'tiers-1' })
  t.same(codesOf(replayed), ['tier_unpriced'])
  t.same(codesOf(await call('POST', '/v1/reservations/check', body)), ['tier_unpriced'])
  t.same(codesOf(await estimate({ ...llm, ...tokens })), ['tier_unpriced'])
  t.same(codesOf(await estimate({ ...llm, usage: { input_tokens: 1 } })), ['tier_unpriced'])
  const chat = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }
  const id: string = held.json.reservation_id
  t.same(codesOf(await commit(id, { provider_usage: chat })), ['tier_unpriced'], 'asked for')
  const scale = await commit(await hold('tiers'), { provider_usage: { service_tier: 'scale', usage } })
  t.same(codesOf(scale), ['tier_unpriced /service_tier'], 'served')
  const fastest = await commit(await hold('tiers'), { provider_usage: { service_tier: 'ultrafast', usage } })
  t.match(fastest.json, { cost_usd: 0.018, warnings: [] }, 'six times 1,000 x 2 + 100 x 10')
  const fast = await commit(await hold('tiers'), { provider_usage: { service_tier: 'priority', usage } })
  t.match(fast.json, { cost_usd: 0.006, warnings: [] }, 'twice 1,000 x 2 + 100 x 10')
})

t.test('usage summed over several requests gives a warning where the split decides the price', async (t) => {
  const llm = { provider: 'openai', model: 'gpt-6.1-sol' }
  const sum = (inputTokens: number, more: object = {}) => ({
    ...llm,
    usage: { input_tokens: inputTokens, output_tokens: 0, ...more },
  })
  const two = await estimate(sum(400_000, { requests: 2 }))
  t.match(two.json, { cost_usd: 0.8, long_context: false }, '400,000 x 2: the mean of two is below 272,000')
  t.same(codesOf(two), ['usage_unsplit /input_tokens'])
  t.same(codesOf(await estimate(sum(200_000, { requests: 2 }))), [], 'no single request can be above the threshold')
  t.same(codesOf(await estimate(sum(400_000))), [], 'a single request gives no warning')
  const totalUsage = { inputTokens: 400_000, outputTokens: 0, totalTokens: 400_000 }
  const unknown = await estimate({ ...llm, provider_usage: { totalUsage } })
  t.match(unknown.json, { cost_usd: 1.6, long_context: true }, '400,000 x 4, as one')
  t.same(codesOf(unknown), ['usage_unsplit /totalUsage/inputTokens'])
  const half = { usage: { inputTokens: 200_000, outputTokens: 0, totalTokens: 200_000 } }
  const provider_usage = { totalUsage, steps: [half, half] }
  const split = await estimate({ ...llm, provider_usage })
  t.match(split.json, { cost_usd: 0.8, long_context: false, warnings: [] }, 'each step is one request')
  const committed = await commit(await hold('split'), { provider_usage })
  t.match(committed.json, { cost_usd: 0.8, warnings: [] }, 'in Postgres, too')
})

t.test("a provider's cost that differs much from ours gives a warning, and so do searches without a fee", async (t) => {
  const llm = { provider: 'openrouter', model: 'anthropic/claude-sonnet-4.6' }
  const chat = { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 }
  const close = await estimate({ ...llm, provider_usage: { ...chat, cost: 0.0045 } })
  t.match(close.json, { cost_usd: 0.0045, warnings: [] }, '1,000 x 3 + 100 x 15')
  t.same(codesOf(await estimate({ ...llm, provider_usage: { ...chat, cost: 0.009 } })), ['usage_total_differs /cost'])
  const groq = { provider: 'groq', model: 'openai/gpt-oss-20b' }
  const searched = { ...chat, server_tool_use: { web_search_requests: 2 } }
  t.same(codesOf(await estimate({ ...groq, provider_usage: searched })), [
    'usage_unread /server_tool_use/web_search_requests',
  ])
})

t.test('every invariant holds', async (t) => {
  await assertHealthy(t, database.pool)
})
