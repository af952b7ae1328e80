import t, { type Test } from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { startRedis } from '../../helpers/servers/redis.ts'
import { startService, type Service } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const redis = await startRedis(t)
const service = await startService(t, database.url, { REDIS_URL: redis.url })
const other = await startService(t, database.url, { REDIS_URL: redis.url })
/** An instance without Redis. */
const apart = await startService(t, database.url)

const MODELS = '/v1/pricing/models'
const E2B = '/v1/pricing/e2b'
const card = (model: string, input: number | string, more: object = {}) => ({
  provider: 'maker',
  model,
  usd_per_mtok: { input, output: 10 },
  ...more,
})
const publish = (body: object) => service.call('POST', MODELS, body)
const list = async (query: string) => (await service.call('GET', `${MODELS}?${query}`)).json.data

const reserve = (of: Service, model: string, provider = 'maker') =>
  of.call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'priced',
    llm: { provider, model, input_tokens: 1_000, max_output_tokens: 0 },
  })
/** USD per million input tokens, computed from a hold of a thousand. */
const inputUsd = async (of: Service, model: string) => (await reserve(of, model)).json.reserved_usd * 1_000

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds()));
}

t.test('a price version is answered in full, with every decimal', async (t) => {
  const body = `{
    "provider": "maker", "model": "exact", "aliases": ["exact-latest"], "effective_date": "2026-01-02T00:00:00Z",
    "usd_per_mtok": { "input": 0.1, "cache_read": "0.010000000001", "output": 0.30000000000000004 },
    "usd_per_unit": { "web_search": 0.01 },
    "long_context": { "input_tokens_over": 200000, "usd_per_mtok": { "input": "123456789.012345678901" } },
    "modifiers": { "batch": 0.5, "region:us": 1.1 }
  }`
  const made = await service.call('POST', MODELS, body)
  t.match(made, { status: 201, json: { effective_date: '2026-01-02T00:00:00Z', expires_at: null, source: 'admin' } })
  t.match(made.json, { status: 'current', aliases: ['exact-latest'], modifiers: { batch: 0.5, 'region:us': 1.1 } })
  const rates = '"usd_per_mtok":{"input":0.1,"output":0.3,"cache_read":0.010000000001}'
  t.match(made.text, rates)
  t.match(made.text, '"long_context":{"usd_per_mtok":{"input":123456789.012345678901},"input_tokens_over":200000}')
  t.same((await list('provider=maker&model=exact'))[0], made.json)
  t.same((await list('model=exact-latest'))[0], made.json, 'the alias finds it too')
  t.same(Object.keys(made.json), [
    'price_id',
    'provider',
    'model',
    'aliases',
    'effective_date',
    'expires_at',
    'source',
    'status',
    'usd_per_mtok',
    'usd_per_unit',
    'long_context',
    'modifiers',
  ])
})

t.test('amounts that are inexact as floats are priced exactly', async (t) => {
  await publish(card('floats', '0.1', { usd_per_mtok: { input: '0.1', output: '0.2' } }))
  const { text } = await service.call('POST', '/v1/estimates', {
    resource_type: 'llm',
    llm: { provider: 'maker', model: 'floats', usage: { input_tokens: 1_000_000, output_tokens: 1_000_000 } },
  })
  t.match(text, /"cost_usd":0\.3[,}]/)
})

t.test('a new version ends its predecessor and ends where its successor starts', async (t) => {
  t.equal(
    (await publish(card('chain', 1))).json.effective_date,
    '1970-01-01T00:00:00Z',
    'the first version has no known start',
  )
  t.match((await publish(card('chain', 3, { effective_date: '2999-01-01T00:00:00Z' }))).json, { status: 'scheduled' })
  const past = await publish(card('chain', 2, { effective_date: '2026-02-01T00:00:00Z' }))
  t.match(past, { status: 201, json: { status: 'current', expires_at: '2999-01-01T00:00:00Z' } })
  t.same(
    (await list('model=chain')).map((version: { effective_date: string; status: string }) => [
      version.effective_date,
      version.status,
    ]),
    [
      ['1970-01-01T00:00:00Z', 'past'],
      ['2026-02-01T00:00:00Z', 'current'],
      ['2999-01-01T00:00:00Z', 'scheduled'],
    ],
  )
  const inputsOf = async (query: string) =>
    (await list(`model=chain&${query}`)).map(
      (version: { usd_per_mtok: { input: number } }) => version.usd_per_mtok.input,
    )
  t.same(await inputsOf('status=past'), [1])
  t.same(await inputsOf('status=scheduled'), [3])
  t.same(await inputsOf('at=2026-01-31T23:59:59.999Z'), [1])
  t.same(await inputsOf('at=2026-02-01T00:00:00Z'), [2])
  t.same(await inputsOf('at=2999-01-01T00:00:00Z'), [3])
  const { rows } = await database.pool.query(
    `select input_price_per_million::text as input from copilot_internal.get_current_model_pricing('maker', 'chain')`,
  )
  t.same(rows, [{ input: '2' }], 'older callers see the same price')
})

t.test('without a date, a new price of a known model applies from now on', async (t) => {
  await publish(card('dateless', 1))
  const next = await publish(card('dateless', 2))
  t.equal(next.status, 201)
  t.match(await list(`model=dateless&at=${next.json.effective_date}`), [{ price_id: next.json.price_id }])
  t.equal((await list('model=dateless')).length, 2)
})

t.test('a second version for a date is a 409 unless it names the first, which is kept', async (t) => {
  const dated = { effective_date: '2026-03-01T00:00:00Z' }
  const first = await publish(card('twice', 1, dated))
  const second = await publish(card('twice', 2, dated))
  t.match(second, { status: 409, json: { code: 'price_exists', price_id: first.json.price_id } })
  t.match(second.json.type, '/problems/price-exists')
  t.match(await publish(card('twice', 2, { ...dated, replaces: first.json.price_id + 1_000 })), { status: 409 })
  t.match(await publish(card('twice', 1, dated)), { status: 409 }, 'the same rates are refused too')
  t.match(await publish(card('twice', 1, { effective_date: '2026-04-01T00:00:00Z', replaces: 7 })), { status: 409 })
  t.same(await list('model=twice'), [first.json], 'nothing was written')

  const third = await publish(card('twice', 2, { ...dated, replaces: first.json.price_id }))
  t.match(third, { status: 201, json: { usd_per_mtok: { input: 2 } } })
  t.same(await list('model=twice'), [third.json])
  t.equal(await inputUsd(service, 'twice'), 2)
  const { rows } = await database.pool.query(
    `select usd_per_mtok ->> 'input' as input, superseded_at is not null as superseded
     from copilot_internal.model_pricing where model = 'twice' order by price_id`,
  )
  t.same(rows, [
    { input: '1', superseded: true },
    { input: '2', superseded: false },
  ])
  t.match(await publish(card('twice', 3, { ...dated, replaces: true })), { status: 201 })
})

t.test('ten concurrent publications for one date make one version', async (t) => {
  const dated = { effective_date: '2026-05-01T00:00:00Z' }
  const all = await Promise.all(Array.from({ length: 10 }, (_, index) => publish(card('raced', index + 1, dated))))
  t.equal(all.filter(({ status }) => status === 201).length, 1)
  t.equal(all.filter(({ status }) => status === 409).length, 9)
  t.equal((await list('model=raced')).length, 1)
})

t.test('an invalid price is a 400 that names the field, and nothing is written', async (t) => {
  const cases: [object, string][] = [
    [{ usd_per_mtok: { output: 1 } }, '/usd_per_mtok/input'],
    [{ usd_per_mtok: { input: -1 } }, '/usd_per_mtok/input'],
    [{ usd_per_mtok: { input: '1e3' } }, '/usd_per_mtok/input'],
    [{ usd_per_mtok: { input: 1e9 } }, '/usd_per_mtok/input'],
    [{ usd_per_mtok: { input: '999999999.9999999999999' } }, '/usd_per_mtok/input'],
    [{ usd_per_mtok: { input: 1, outptu: 1 } }, '/usd_per_mtok/outptu'],
    [{ usd_per_unit: { coffee: 1 } }, '/usd_per_unit/coffee'],
    [{ modifiers: { gold: 2 } }, '/modifiers/gold'],
    [{ modifiers: { 'region:': 2 } }, '/modifiers/region:'],
    [{ long_context: { usd_per_mtok: { input: 1 } } }, '/long_context/input_tokens_over'],
    [{ effective_date: '2026-02-30T00:00:00Z' }, '/effective_date'],
    [{ expires_at: '2026-02-03T00:00:00Z' }, '/effective_date'],
    [{ effective_date: '9999-12-31T23:59:59.999999999-14:00' }, '/effective_date'],
    [{ effective_date: '2026-02-03T00:00:00Z', expires_at: '2026-02-03T00:00:00Z' }, '/expires_at'],
    [{ aliases: ['gone', 'exact'] }, '/aliases'],
    [{ replaces: 'all' }, '/replaces'],
    [{ price_id: 5 }, '/price_id'],
    [{ model: '' }, '/model'],
  ]
  for (const [change, pointer] of cases) {
    const refused = await publish({ ...card('wrong', 1), ...change })
    t.match(refused, { status: 400, json: { code: 'invalid_request' } }, JSON.stringify(change))
    t.equal(refused.json.errors[0].pointer, pointer, JSON.stringify(change))
  }
  t.same(await list('model=wrong'), [])
})

t.test('admins write and read prices, viewers read them, services do neither', async (t) => {
  const viewer = await service.keyFor('viewer')
  const caller = await service.keyFor('service')
  for (const path of [MODELS, E2B]) {
    t.equal((await service.call('GET', path, undefined, viewer)).status, 200)
    t.equal((await service.call('GET', path, undefined, caller)).status, 403)
    t.equal((await service.call('GET', path, undefined, { authorization: 'none' })).status, 401)
    for (const key of [viewer, caller]) {
      const body =
        path === MODELS ? card('theirs', 0) : { tier: 'small', usd_per_vcpu_second: 0, usd_per_gib_second: 0 }
      t.equal((await service.call('POST', path, body, key)).status, 403)
    }
  }
  t.same(await list('model=theirs'), [])
})

t.test('paging shows every version once, in order', async (t) => {
  const seen: string[] = []
  let cursor = ''
  do {
    const { status, json } = await service.call('GET', `${MODELS}?provider=anthropic&limit=7${cursor}`)
    t.equal(status, 200)
    t.ok(json.data.length <= 7)
    seen.push(
      ...json.data.map((one: { model: string; effective_date: string }) => `${one.model} ${one.effective_date}`),
    )
    cursor = json.next_cursor === null ? '' : `&cursor=${json.next_cursor}`
  } while (cursor !== '')
  const { rows } = await database.pool.query(
    `select count(*)::int as versions from copilot_internal.model_pricing where provider = 'anthropic' and superseded_at is null`,
  )
  t.equal(new Set(seen).size, rows[0].versions)
  t.equal(seen.length, rows[0].versions)
  t.equal((await service.call('GET', `${MODELS}?cursor=rubbish`)).status, 400)
  t.equal((await service.call('GET', `${MODELS}?colour=red`)).status, 400)
})

t.test('sandbox prices have versions with the same rules', async (t) => {
  const body = {
    tier: 'medium',
    usd_per_vcpu_second: 0.000028,
    usd_per_gib_second: '0.000009',
    effective_date: '2999-01-01T00:00:00Z',
  }
  const made = await service.call('POST', E2B, body)
  t.match(made, {
    status: 201,
    json: { tier: 'medium', region: 'us-east-1', vcpu: 2, memory_mib: 2048, status: 'scheduled', source: 'admin' },
  })
  t.match(made.text, '"usd_per_vcpu_second":0.000028,"usd_per_gib_second":0.000009,"price_per_second":0.000074')
  t.match(await service.call('POST', E2B, body), { status: 409, json: { price_id: made.json.price_id } })
  t.match(await service.call('POST', E2B, { ...body, replaces: made.json.price_id, usd_per_gib_second: 0 }), {
    status: 201,
  })
  const { json } = await service.call('GET', `${E2B}?tier=medium`)
  t.same(
    json.data.map((one: { status: string; expires_at: string | null }) => [one.status, one.expires_at]),
    [
      ['current', '2999-01-01T00:00:00Z'],
      ['scheduled', null],
    ],
  )
  t.equal((await service.call('GET', `${E2B}?tier=medium&at=2999-01-02T00:00:00Z`)).json.data.length, 1)

  const gpu = { tier: 'gpu', region: 'eu-west-1', usd_per_vcpu_second: 1, usd_per_gib_second: 0 }
  const refused = await service.call('POST', E2B, gpu)
  t.match(refused, { status: 400, json: { errors: [{ pointer: '/vcpu' }, { pointer: '/memory_mib' }] } })
  t.match(await service.call('POST', E2B, { ...gpu, vcpu: 2 }), { json: { errors: [{ pointer: '/memory_mib' }] } })
  t.match(await service.call('POST', E2B, { ...gpu, vcpu: 2, memory_mib: 1024 }), {
    status: 201,
    json: { price_per_second: 2, effective_date: '1970-01-01T00:00:00Z' },
  })
  const held = await service.call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    tenant_id: 'priced',
    e2b: { tier: 'gpu', region: 'eu-west-1', max_seconds: 3 },
  })
  t.match(held, { status: 201, json: { reserved_usd: 6 } })
  const run = (tier: string, region: string) =>
    service.call('POST', '/v1/estimates', { resource_type: 'e2b', e2b: { tier, region, seconds: 1 } })
  t.match((await run('gpus', 'eu-west-1')).json, {
    provider: 'e2b',
    model: 'gpus',
    near: [{ provider: 'e2b', model: 'gpu', region: 'eu-west-1' }, { provider: 'e2b' }],
    detail: /^There is no price for e2b gpus; near ones are e2b gpu in eu-west-1, /,
  })
  t.same((await run('large', 'eu-west-1')).json.near[0], { provider: 'e2b', model: 'large', region: 'us-east-1' })
  const estimated = await service.call('POST', '/v1/estimates', {
    resource_type: 'e2b',
    e2b: { tier: 'medium', seconds: 4 },
    at: '2998-12-31T23:59:59Z',
  })
  t.match(estimated, { status: 200, json: { breakdown: [{ quantity: 1 }, { quantity: 3 }] } }, estimated.text)
  const [before, after] = estimated.json.breakdown
  t.equal(
    estimated.json.cost_usd,
    Number((before.cost_usd + after.cost_usd).toFixed(12)),
    'one breakdown line for each price',
  )
})

t.test(
  'an unknown model is refused with similar names, and works on every instance once an admin has priced it',
  async (t) => {
    const instances = [service, other, apart]
    for (const one of instances) {
      const refused = await reserve(one, 'gpt-6.1-sool', 'openai')
      t.match(refused, { status: 422, json: { code: 'price_not_found', provider: 'openai', model: 'gpt-6.1-sool' } })
      t.same(refused.json.near[0], { provider: 'openai', model: 'gpt-6.1-sol' })
      t.equal((await reserve(one, 'gpt-6.1-sol', 'openai')).status, 201, 'other models still work')
    }
    t.equal((await publish({ ...card('gpt-6.1-sool', 3), provider: 'openai' })).status, 201)
    t.match(await reserve(service, 'gpt-6.1-sool', 'openai'), { status: 201, json: { reserved_usd: 0.003 } })
    for (const one of [other, apart])
      await until(async () => (await reserve(one, 'gpt-6.1-sool', 'openai')).status === 201)
    const { json } = await reserve(other, 'gpt-6.1-sooll', 'openai')
    t.same(json.near[0], { provider: 'openai', model: 'gpt-6.1-sool' }, 'the newly priced model is suggested')
  },
)

t.test(
  'suggested names would be accepted unchanged: the best match first, aliases too, at the requested moment',
  async (t) => {
    const estimate = (llm: object, at?: string) =>
      service.call('POST', '/v1/estimates', {
        resource_type: 'llm',
        ...(at && { at }),
        llm: { ...llm, usage: { input_tokens: 1 } },
      })
    const elsewhere = await estimate({ provider: 'anthropic', model: 'gpt-6.1-terra' })
    t.match(elsewhere, { status: 422, json: { provider: 'anthropic', model: 'gpt-6.1-terra' } })
    t.match(elsewhere.json.near[0], { model: 'gpt-6.1-terra' }, 'the right name under another provider')
    const claude = await estimate({ provider: 'openai', model: 'claude-sonnet-4-6' })
    t.match(claude.json.near[0], { provider: 'anthropic', model: 'claude-sonnet-4-6' }, 'the maker’s own model')
    t.match(
      elsewhere.json.detail,
      /^There is no price for anthropic gpt-6\.1-terra; near ones are \w+ gpt-6\.1-terra, /,
    )
    t.equal((await estimate({ provider: 'opnai', model: 'gpt-6.1-terra' })).json.near[0].provider, 'openai')
    const misspelt = await estimate({ provider: 'aws', model: 'us.anthropic.claude-haiku-4-5-20251001-v1' })
    t.same(misspelt.json.near[0], { provider: 'aws', model: 'us.anthropic.claude-haiku-4-5-20251001-v1:0' }, 'an alias')
    const nameless = await estimate({ model: 'gpt-6.1-terraa' })
    t.same(
      nameless.json.near[0],
      { provider: 'openai', model: 'gpt-6.1-terra' },
      "the maker's model comes before a cloud's",
    )
    for (const { json } of [elsewhere, misspelt, nameless]) {
      t.equal(json.near.length, 5)
      for (const pair of json.near) t.equal((await estimate(pair)).status, 200, JSON.stringify(pair))
    }

    await publish(card('far-off-1', 1, { effective_date: '2998-01-01T00:00:00Z', aliases: ['far-off'] }))
    await publish(card('far-off-2', 1, { effective_date: '2026-01-01T00:00:00Z', expires_at: '2026-02-01T00:00:00Z' }))
    const nearAt = async (at?: string) =>
      (await estimate({ provider: 'maker', model: 'far-off-3' }, at)).json.near
        .map(({ model }: { model: string }) => model)
        .filter((model: string) => model.startsWith('far-off'))
    t.same(await nearAt(), [])
    t.same(await nearAt('2026-01-31T23:59:59.999Z'), ['far-off-2'])
    t.same(await nearAt('2998-01-01T00:00:00Z'), ['far-off-1', 'far-off'])
    const early = await estimate({ provider: 'maker', model: 'far-off-1' })
    t.match(early.json.detail, /^There is no price for maker far-off-1 at that time/)
  },
)

t.test('suggested providers can send the usage object of the request', async (t) => {
  const near = async (providerUsage: object): Promise<string[]> => {
    const llm = { provider: 'google', model: 'google/gemini-2.5-flash', provider_usage: providerUsage }
    const { json } = await service.call('POST', '/v1/estimates', { resource_type: 'llm', llm })
    return json.near.map(({ provider }: { provider: string }) => provider)
  }
  const chat = await near({ prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 })
  t.ok(chat.includes('openrouter'), 'a form that every provider sends')
  const metadata = { promptTokenCount: 1, candidatesTokenCount: 1, totalTokenCount: 2 }
  t.same(new Set(await near(metadata)), new Set(['google']))
  const records = [
    {
      resource_type: 'llm',
      tenant_id: 'priced',
      llm: { provider: 'google', model: 'google/gemini-2.5-flash', provider_usage: metadata },
    },
  ]
  const refused = await service.call('POST', '/v1/cost-records', { records })
  t.match(refused.json.near, [{ provider: 'google' }])
  t.ok(refused.json.near.every(({ provider }: { provider: string }) => provider === 'google'))
})

t.test(
  'a name without a provider means its maker if only clouds and resellers share it, and is refused otherwise',
  async (t) => {
    const estimate = (model: string, provider?: string) =>
      service.call('POST', '/v1/estimates', {
        resource_type: 'llm',
        llm: { ...(provider && { provider }), model, usage: { input_tokens: 1_000, web_searches: 1 } },
      })
    // 10 USD per 1,000 searches at OpenAI, 14 at Azure.
    t.match(await estimate('gpt-4o'), { status: 200, json: { cost_usd: 0.0125 } })
    t.match(await estimate('gpt-4o', 'azure'), { status: 200, json: { cost_usd: 0.0165 } })
    t.match(await estimate('claude-opus-5-5'), { status: 200, json: { cost_usd: 0.014 } })
    t.match(await estimate('claude-haiku-4-5'), { status: 200, json: { cost_usd: 0.011 } }, 'resellers have the model')
    const recorded = await service.call('POST', '/v1/cost-records', {
      records: [
        {
          resource_type: 'llm',
          tenant_id: 'priced',
          llm: { model: 'claude-opus-4-5', usage: { input_tokens: 1_000 } },
        },
      ],
    })
    t.match(recorded, { status: 201, json: { data: [{ cost_usd: 0.005 }] } })
    await publish(card('shared', 1))
    await publish({ ...card('shared', 1), provider: 'other-maker' })
    t.match(await estimate('shared'), {
      status: 400,
      json: {
        errors: [{ pointer: '/llm/provider', message: 'is required: maker, other-maker have the model shared' }],
      },
    })
  },
)

t.test('a changed price reaches every instance, even one that has cached the old price', async (t) => {
  await publish(card('moving', 1))
  for (const one of [service, other, apart]) await until(async () => (await inputUsd(one, 'moving')) === 1)
  await publish(card('moving', 2))
  t.equal(await inputUsd(service, 'moving'), 2, 'at once on the instance that changed it')
  for (const one of [other, apart]) await until(async () => (await inputUsd(one, 'moving')) === 2)
})

async function assertNews(t: Test, model: string): Promise<void> {
  await publish(card(model, 1))
  for (const one of [service, other]) await until(async () => (await inputUsd(one, model)) === 1)
  await publish(card(model, 2))
  for (const one of [service, other]) await until(async () => (await inputUsd(one, model)) === 2)
  t.pass('every instance knows the change')
}

t.test('price changes reach every instance without Redis, and through a Redis that came back', async (t) => {
  await redis.kill()
  await assertNews(t, 'no-redis')
  const back = await startRedis(t, Number(new URL(redis.url).port))
  for (const one of [service, other]) {
    await until(async () => (await one.call('GET', '/readyz')).json.checks.redis === 'up')
  }
  await assertNews(t, 'redis-is-back')
  t.equal(back.url, redis.url)
})

t.test('a scheduled price applies from its date without any message', async (t) => {
  await publish(card('scheduled', 1))
  await publish(card('scheduled', 2, { effective_date: '2999-06-01T00:00:00Z' }))
  t.equal(await inputUsd(service, 'scheduled'), 1)
  t.teardown(() => setNow(database, null))
  await setNow(database, '2999-06-01T00:00:00Z')
  const late = await startService(t, database.url)
  // Its clock follows the database's from the first decision on.
  await reserve(late, 'scheduled')
  t.equal(await inputUsd(late, 'scheduled'), 2)
})

t.test('an alias that moves to another model does not change the price of open holds', async (t) => {
  const named = { provider: 'maker', model: 'sliding', input_tokens: 2_000_000, max_output_tokens: 0 }
  const hold = (of: Service) =>
    of.call('POST', '/v1/reservations', { resource_type: 'llm', tenant_id: 'sliding', llm: named })
  const one = { aliases: ['sliding'], usd_per_mtok: { input: 1, output: 1 } }
  t.match((await publish(card('sliding-1', 1, one))).json, { aliases: ['sliding'] })
  const held = await hold(service)
  t.match(held, { status: 201, json: { reserved_usd: 2 } })
  const other40 = { aliases: ['sliding'], usd_per_mtok: { input: 40, output: 40 } }
  t.match((await publish(card('sliding-2', 40, other40))).json, { aliases: ['sliding'] })
  t.same((await list('model=sliding-1'))[0].aliases, [], 'the alias means one model')
  t.same(
    (await list('model=sliding')).map(({ model }: { model: string }) => model),
    ['sliding-2'],
  )
  for (const each of [service, other, apart]) await until(async () => (await hold(each)).status === 429)
  const path = `/v1/reservations/${held.json.reservation_id}`
  const extended = await service.call('POST', `${path}/extend`, { estimate: { max_output_tokens: 1_000_000 } })
  t.match(
    extended,
    { status: 200, json: { reserved_usd: 3 } },
    'an extension counts the model that the hold was made for',
  )
  const committed = await service.call('POST', `${path}/commit`, { usage: { input_tokens: 2_000_000 } })
  t.match(committed, { status: 200, json: { cost_usd: 2, overrun_usd: 0, price_id: held.json.price_id } })
})
