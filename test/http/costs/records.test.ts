import t from 'tap'
import { balancesOf } from '../../helpers/money/books.ts'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const { pool } = database
await setNow(database, '2026-11-20T12:00:00Z')
const services = await Promise.all([startService(t, database.url), startService(t, database.url)])
const [service] = services
const caller = await service.keyFor('service')

type Fields = Record<string, unknown>

const spend = (tenantId: string, costUsd: number | string, more: Fields = {}): Fields => ({
  resource_type: 'llm',
  tenant_id: tenantId,
  cost_usd: costUsd,
  ...more,
})
const record = (records: Fields[], headers: Record<string, string> = caller, at = service) =>
  at.call('POST', '/v1/cost-records', { records }, headers)
const setQuota = (quota: Fields) => service.call('PUT', '/v1/quotas', quota)

async function count(what: string, tenantId: string): Promise<number> {
  const { rows } = await pool.query<{ n: number }>(
    `select count(*)::integer as n from copilot_internal.${what} where tenant_id = $1`,
    [tenantId],
  )
  return rows[0]!.n
}

t.test('calls, sandbox runs and plain amounts are recorded at their prices and counted in quotas', async (t) => {
  const occurredAt = '2026-11-20T11:30:00Z'
  const attribution = { user_id: 'u-1', conversation_id: 'c-9', path_id: 'p-2', labels: { feature: 'chat "x"' } }
  const usage = { input_tokens: 12_362, cache_read_tokens: 4_096, output_tokens: 640 }
  const call = { provider: 'openai', model: 'gpt-6.1-sol' }
  const estimate = async (body: object) =>
    (await service.call('POST', '/v1/estimates', { at: occurredAt, ...body })).json
  const callCost = await estimate({ resource_type: 'llm', llm: { ...call, usage } })
  const runCost = await estimate({ resource_type: 'e2b', e2b: { tier: 'medium', seconds: 412.6 } })
  const answer = await record([
    { resource_type: 'llm', tenant_id: 'full', ...attribution, occurred_at: occurredAt, llm: { ...call, usage } },
    { resource_type: 'e2b', tenant_id: 'full', occurred_at: occurredAt, e2b: { tier: 'medium', seconds: 412.6 } },
    spend('full', '0.12345678901251', { occurred_at: '2026-11-20T12:05:00Z', idempotency_key: 'k 1' }),
    {
      resource_type: 'llm',
      tenant_id: 'full',
      llm: {
        model: 'gpt-6.1-sol',
        provider_usage: {
          prompt_tokens: 12_362,
          completion_tokens: 640,
          prompt_tokens_details: { cached_tokens: 4_096 },
        },
      },
    },
    spend('full', 0, { resource_type: 'e2b', e2b: { vcpu: 2, memory_mib: 512 } }),
  ])
  t.equal(answer.status, 201, answer.text)
  t.match(answer.json.data, [
    { index: 0, cost_usd: callCost.cost_usd, replayed: false },
    { index: 1, cost_usd: runCost.cost_usd, replayed: false },
    { index: 2, cost_usd: 0.123456789013, replayed: false },
    { index: 3, cost_usd: callCost.cost_usd, replayed: false },
    { index: 4, cost_usd: 0, replayed: false },
  ])
  const listed = await service.call('GET', '/v1/cost-records?tenant_id=full')
  const byId = (n: number) =>
    listed.json.data.find((one: Fields) => one['cost_record_id'] === answer.json.data[n].cost_record_id)
  t.same(byId(0), {
    cost_record_id: answer.json.data[0].cost_record_id,
    reservation_id: null,
    resource_type: 'llm',
    tenant_id: 'full',
    ...attribution,
    ...call,
    tier: null,
    usage,
    cost_usd: callCost.cost_usd,
    price_id: callCost.price_id,
    occurred_at: occurredAt,
    recorded_at: '2026-11-20T12:00:00Z',
    late: false,
    overrun: false,
    estimated: false,
    corrects: null,
  })
  t.match(byId(1), { tier: 'medium', usage: { seconds: 412.6 }, price_id: runCost.price_id, user_id: null })
  t.match(byId(2), { usage: {}, price_id: null, model: null, occurred_at: '2026-11-20T12:05:00Z' })
  t.match(byId(3), { ...call, usage, occurred_at: '2026-11-20T12:00:00Z' })
  const { rows } = await pool.query(
    `select q.resource_type, q.limit_usd::text, p.spent = (
       select sum(total_cost_usd) from (
         select 'llm' as type, total_cost_usd from copilot_internal.llm_cost_records where tenant_id = 'full'
         union all select 'e2b', total_cost_usd from copilot_internal.e2b_cost_records where tenant_id = 'full') c
       where c.type = q.resource_type::text) as counted
     from copilot_internal.cost_quotas q join copilot_internal.quota_periods p using (quota_id) where q.tenant_id = 'full' order by 1`,
  )
  t.same(
    rows,
    [
      { resource_type: 'llm', limit_usd: '50', counted: true },
      { resource_type: 'e2b', limit_usd: '10', counted: true },
    ],
    'an unknown tenant got its default quotas',
  )
  await assertHealthy(t, pool)
})

t.test('a repeated key with the same record answers the first one; with another record it is refused', async (t) => {
  const one = spend('replay', 1.5, { idempotency_key: 'one' })
  const two = spend('replay', 2, { idempotency_key: 'two' })
  const first = await record([one])
  const again = await record([two, one])
  t.match(again, {
    status: 201,
    json: {
      data: [
        { index: 0, replayed: false },
        { index: 1, replayed: true },
      ],
    },
  })
  t.match(again.json.data[1], { cost_record_id: first.json.data[0].cost_record_id, cost_usd: 1.5 })
  t.same(await balancesOf(pool, 'replay'), ['tenant day 2026-11-20T00 3.5'])

  const three = spend('replay', 4, { idempotency_key: 'three' })
  const refused = await record([three, { ...one, cost_usd: 1.6 }])
  t.match(refused, {
    status: 422,
    json: { code: 'idempotency_mismatch', errors: [{ pointer: '/records/1/idempotency_key' }] },
  })
  t.same(await balancesOf(pool, 'replay'), ['tenant day 2026-11-20T00 3.5'], 'none of them was recorded')
  t.match(
    (await record([three])).json.data,
    [{ replayed: false }],
    'the idempotency key of the valid record can be used again',
  )

  const twice = await record([
    { ...three, idempotency_key: 'four' },
    { ...three, idempotency_key: 'four' },
  ])
  t.match(twice.json.data, [{ replayed: false }, { replayed: true }])
  t.equal(
    twice.json.data[0].cost_record_id,
    twice.json.data[1].cost_record_id,
    'the second record is a repeat of the first',
  )
  t.match(
    await record([
      { ...three, idempotency_key: 'five' },
      { ...three, cost_usd: 5, idempotency_key: 'five' },
    ]),
    { status: 422, json: { errors: [{ pointer: '/records/1/idempotency_key' }] } },
  )
  const other = await service.keyFor('service')
  t.match((await record([one], other)).json.data, [{ replayed: false }], 'each principal has its own idempotency keys')
  const unkeyed = spend('replay', 1)
  t.match((await record([unkeyed, unkeyed])).json.data, [{ replayed: false }, { replayed: false }])
  t.same(await balancesOf(pool, 'replay'), ['tenant day 2026-11-20T00 15'])
  await assertHealthy(t, pool)
})

t.test('a record without a price is refused with its pointer, and nothing of the list is recorded', async (t) => {
  const call = (model: string): Fields => ({
    resource_type: 'llm',
    tenant_id: 'unpriced',
    idempotency_key: model,
    llm: { provider: 'openai', model, usage: { input_tokens: 1, output_tokens: 1 } },
  })
  const answer = await record([call('gpt-6.1-sol'), call('gpt-6.1-soul'), call('no-such')])
  t.match(answer, {
    status: 422,
    json: {
      code: 'price_not_found',
      provider: 'openai',
      model: 'gpt-6.1-soul',
      errors: [{ pointer: '/records/1/llm/model' }, { pointer: '/records/2/llm/model' }],
    },
  })
  t.same(answer.json.near[0], { provider: 'openai', model: 'gpt-6.1-sol' })
  t.match(await record([{ ...call('gpt-6.1-soul'), llm: { model: 'no-such', usage: { input_tokens: 1 } } }]), {
    status: 422,
    json: { code: 'price_not_found', errors: [{ pointer: '/records/0/llm/model' }] },
  })
  t.match(await record([{ resource_type: 'e2b', tenant_id: 'unpriced', e2b: { tier: 'gigantic', seconds: 1 } }]), {
    status: 422,
    json: { code: 'price_not_found', errors: [{ pointer: '/records/0/e2b/tier' }] },
  })
  t.equal(await count('llm_cost_records', 'unpriced'), 0)
  t.same(await balancesOf(pool, 'unpriced'), ['tenant day 2026-11-20T00 0', 'tenant day 2026-11-20T00 0'])
  t.match(
    (await record([call('gpt-6.1-sol')])).json.data,
    [{ replayed: false }],
    'its idempotency key can be used again',
  )
})

t.test('a model or tier without any price is called unknown, one without a price at that moment is not', async (t) => {
  await service.call('POST', '/v1/pricing/models', {
    provider: 'maker',
    model: 'since-noon',
    aliases: ['since-noon-latest'],
    effective_date: '2026-11-19T12:00:00Z',
    usd_per_mtok: { input: 1 },
  })
  await service.call('POST', '/v1/pricing/e2b', {
    tier: 'gpu',
    vcpu: 1,
    memory_mib: 1024,
    effective_date: '2026-11-19T12:00:00Z',
    usd_per_vcpu_second: 1,
    usd_per_gib_second: 1,
  })
  const of = (given: Fields): Fields => ({
    tenant_id: 'unknown',
    occurred_at: '2026-11-19T11:59:59.999999Z',
    ...given,
  })
  const call = (model: string, provider?: string) =>
    of({ resource_type: 'llm', llm: { ...(provider && { provider }), model, usage: { input_tokens: 1 } } })
  const run = (tier: string) => of({ resource_type: 'e2b', e2b: { tier, seconds: 1 } })
  const answer = await record([
    call('since-noon', 'maker'),
    call('since-noon-latest', 'maker'),
    call('since-noon'),
    call('since-night', 'maker'),
    call('no-such'),
    run('gpu'),
    run('tpu'),
  ])
  t.equal(answer.status, 422)
  const then = 'has no price for the moment of occurred_at'
  const unknown = 'is unknown: no such model has a price'
  t.same(
    answer.json.errors.map(({ message }: { message: string }) => message),
    [then, then, then, unknown, unknown, then, 'is unknown: no such tier has a price in us-east-1'],
  )
  t.match(answer.json.detail, /^There is no price for maker since-noon at that time; near ones are /)
  t.notOk(answer.json.near.some(({ model }: { model: string }) => model.startsWith('since-noon')))
})

t.test('a record is priced at its occurred_at', async (t) => {
  await setNow(database, '2026-12-02T00:00:00Z')
  const at = (occurredAt: string, model = 'gemini-4-argon'): Fields => ({
    resource_type: 'llm',
    tenant_id: 'scheduled',
    occurred_at: occurredAt,
    llm: { provider: 'google', model, usage: { input_tokens: 1_000, output_tokens: 1_000 } },
  })
  const answer = await record([
    at('2026-11-30T23:59:59.999999Z'),
    at('2026-12-01T00:00:00Z'),
    at('2026-12-01t01:00:00+01:00'),
  ])
  t.same(
    answer.json.data.map((one: Fields) => one['cost_usd']),
    [0.012, 0.024, 0.024],
  )
  await setNow(database, '2026-11-20T12:00:00Z')
})

t.test('a direct record makes a missing past balance, but none from before its quota existed', async (t) => {
  await setNow(database, '2026-11-10T09:00:00Z')
  await setQuota({ scope: 'tenant', tenant_id: 'past', period: 'day', limit_usd: 5 })
  await setQuota({ scope: 'tenant', tenant_id: 'past', period: 'week', limit_usd: 5, time_zone: 'Asia/Tokyo' })
  await setQuota({ scope: 'tenant', tenant_id: 'past', period: 'total', limit_usd: 5 })
  await setQuota({ scope: 'user', tenant_id: 'past', user_id: 'u', period: 'hour', limit_usd: 5 })
  await setNow(database, '2026-11-20T12:00:00Z')
  const at = (occurredAt: string, costUsd: number, more: Fields = {}) =>
    spend('past', costUsd, { occurred_at: occurredAt, ...more })
  const answer = await record([
    at('2026-11-12T10:30:00Z', 1, { user_id: 'u' }),
    at('2026-11-12T10:59:59Z', 2, { user_id: 'u' }),
    at('2026-11-15T15:00:00Z', 4),
    at('2026-11-09T23:59:59Z', 8),
    at('2026-11-10T08:59:59Z', 16, { user_id: 'u' }),
    at('2026-11-20T12:04:59Z', 32),
  ])
  t.equal(answer.status, 201, answer.text)
  t.same(await balancesOf(pool, 'past'), [
    'tenant day 2026-11-10T00 16',
    'tenant day 2026-11-12T00 3',
    'tenant day 2026-11-15T00 4',
    'tenant day 2026-11-20T00 32',
    'tenant total 1970-01-01T00 63',
    'tenant week 2026-11-08T15 27',
    'tenant week 2026-11-15T15 36',
    'user hour 2026-11-10T09 0',
    'user hour 2026-11-12T10 3',
    'user hour 2026-11-20T12 0',
  ])
  t.match(await service.call('GET', '/v1/quotas/status?tenant_id=past'), { status: 200 })
  await assertHealthy(t, pool)
})

t.test('a record slightly ahead makes the next period’s balance, and later reservations use it', async (t) => {
  await setNow(database, '2026-11-20T23:58:00Z')
  t.equal((await record([spend('ahead', 2, { occurred_at: '2026-11-21T00:01:00Z' })])).status, 201)
  await setNow(database, '2026-11-21T00:00:30Z')
  t.match(
    await service.call('POST', '/v1/reservations', {
      ...spend('ahead', 0),
      cost_usd: undefined,
      estimated_cost_usd: 1,
    }),
    { status: 201, json: { quotas: [{ spent_usd: 2, reserved_usd: 1 }] } },
  )
  await setNow(database, '2026-11-20T12:00:00Z')
})

t.test('a record more than 5 minutes ahead or with a negative cost is refused', async (t) => {
  const before = await count('llm_cost_records', 'bounds')
  for (const [fields, pointer] of [
    [{ occurred_at: '2026-11-20T12:05:00.001Z' }, '/records/1/occurred_at'],
    [{ cost_usd: -0.01 }, '/records/1/cost_usd'],
    [{ cost_usd: 1e9 }, '/records/1/cost_usd'],
    [{ occurred_at: '2026-11-20' }, '/records/1/occurred_at'],
    [{ llm: { model: 'gpt-6.1-sol', usage: { input_tokens: -1 } } }, '/records/1/llm/usage/input_tokens'],
    [{ llm: { model: 'gpt-6.1-sol', usage: { input_tokens: 1 } } }, '/records/1/cost_usd'],
    [{ cost_usd: undefined }, '/records/1/llm'],
  ] as const) {
    const answer = await record([spend('bounds', 1), { ...spend('bounds', 1), ...fields }])
    t.match(answer, { status: 400, json: { code: 'invalid_request', errors: [{ pointer }] } }, pointer)
  }
  t.equal(await count('llm_cost_records', 'bounds'), before)
})

t.test('only an administrator imports records older than the retention, and no quota counts them', async (t) => {
  await setQuota({ scope: 'tenant', tenant_id: 'import', period: 'total', limit_usd: 5 })
  const old = spend('import', 7, { occurred_at: '2026-08-22T11:59:59Z', idempotency_key: 'old' })
  t.match(await record([spend('import', 1), old]), {
    status: 403,
    json: { code: 'forbidden', errors: [{ pointer: '/records/1/occurred_at' }] },
  })
  t.equal(await count('llm_cost_records', 'import'), 0)
  t.equal((await record([{ ...old, occurred_at: '2026-08-22T12:00:00Z', idempotency_key: 'edge' }])).status, 201)
  const imported = await record([old], {})
  t.match(imported, { status: 201, json: { data: [{ cost_usd: 7 }] } })
  t.same(
    (await balancesOf(pool, 'import')).filter((line) => !line.endsWith(' 0')),
    ['tenant total 1970-01-01T00 7'],
    'a record just within the retention is counted',
  )
  await service.call('POST', `/v1/cost-records/${imported.json.data[0].cost_record_id}/correct`, {
    cost_usd: 1,
    reason: 'invoice',
  })
  await setQuota({ scope: 'user', tenant_id: 'import', user_id: 'u', period: 'total', limit_usd: 5 })
  const sums = await service.call('GET', '/v1/costs?tenant_id=import&from=2026-01-01T00:00:00Z&to=2026-12-31T00:00:00Z')
  t.equal(sums.json.total.cost_usd, 8, 'cost sums include it')
  t.same(
    (await balancesOf(pool, 'import')).filter((line) => !line.endsWith(' 0')),
    ['tenant total 1970-01-01T00 7'],
  )
  await assertHealthy(t, pool)
})

t.test('no quota refuses a direct record, but the next reservation is refused', async (t) => {
  await setQuota({ scope: 'tenant', tenant_id: 'over', period: 'day', limit_usd: 5 })
  t.equal((await record([spend('over', 4), spend('over', 3)])).status, 201)
  t.match(
    await service.call('POST', '/v1/reservations', {
      resource_type: 'llm',
      tenant_id: 'over',
      estimated_cost_usd: 0.01,
    }),
    { status: 429, json: { current_spend_usd: 7, limit_usd: 5 } },
  )
  await assertHealthy(t, pool)
})

t.test('a bound key records only for its own tenant, and a viewer records nothing', async (t) => {
  const bound = await service.keyFor('service', 'mine')
  t.match(await record([spend('mine', 1)], bound), { status: 201 })
  t.match(await record([{ ...spend('mine', 1), tenant_id: undefined }], bound), { status: 201 })
  t.match(await record([spend('mine', 1), spend('theirs', 1)], bound), { status: 403, json: { code: 'forbidden' } })
  t.same(await balancesOf(pool, 'mine'), ['tenant day 2026-11-20T00 2'])
  t.match(await record([spend('mine', 1)], await service.keyFor('viewer')), { status: 403 })
  t.match(await record([{ ...spend('mine', 1), tenant_id: undefined }]), {
    status: 400,
    json: { errors: [{ pointer: '/records/0/tenant_id' }] },
  })
})

t.test('a call takes at most a thousand records', async (t) => {
  const records = (n: number) =>
    Array.from({ length: n }, (_, i) =>
      spend(`many-${i % 40}`, '0.001', { user_id: `u-${i % 7}`, idempotency_key: `many-${i}` }),
    )
  const answer = await record(records(1000))
  t.equal(answer.status, 201, answer.text)
  t.same(
    answer.json.data.map(({ index }: { index: number }) => index),
    records(1000).map((_, n) => n),
  )
  t.ok((await record(records(1000))).json.data.every(({ replayed }: { replayed: boolean }) => replayed))
  t.match(await record(records(1001)), { status: 400, json: { errors: [{ pointer: '/records' }] } })
  t.match(await record([]), { status: 400, json: { errors: [{ pointer: '/records' }] } })
  await assertHealthy(t, pool)
})

t.test('twenty concurrent calls with one key make one record', async (t) => {
  const one = spend('race', 1, { idempotency_key: 'race', user_id: 'u' })
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => record([one], caller, services[n % 2])))
  t.same([...new Set(answers.map(({ status }) => status))], [201])
  t.equal(new Set(answers.map(({ json }) => json.data[0].cost_record_id)).size, 1)
  t.equal(answers.filter(({ json }) => !json.data[0].replayed).length, 1)
  t.equal(await count('llm_cost_records', 'race'), 1)
  t.same(await balancesOf(pool, 'race'), ['tenant day 2026-11-20T00 1'])
  await assertHealthy(t, pool)
})

t.test('concurrent lists in opposite orders are each recorded once, without a deadlock', async (t) => {
  const days = ['2026-11-17T08:00:00Z', '2026-11-18T08:00:00Z', '2026-11-19T08:00:00Z', '2026-11-20T08:00:00Z']
  await setNow(database, '2026-11-16T00:00:00Z')
  for (const n of [1, 2, 3]) {
    await setQuota({ scope: 'tenant', tenant_id: `cross-${n}`, period: 'hour', limit_usd: 1 })
    await setQuota({ scope: 'tenant', tenant_id: `cross-${n}`, period: 'total', limit_usd: 1 })
  }
  await setNow(database, '2026-11-20T12:00:00Z')
  const records = [1, 2, 3, 4, 5, 6].flatMap((n) =>
    days.map((day) => spend(`cross-${n}`, 0.5, { occurred_at: day, idempotency_key: `cross-${n}-${day}` })),
  )
  const answers = await Promise.all(
    Array.from({ length: 16 }, (_, n) => record(n % 2 === 0 ? records : records.toReversed(), caller, services[n % 2])),
  )
  t.same([...new Set(answers.map(({ status }) => status))], [201])
  for (const n of [1, 6]) t.equal(await count('llm_cost_records', `cross-${n}`), 4)
  t.same(
    (await balancesOf(pool, 'cross-1')).filter((line) => !line.endsWith(' 0')),
    [
      'tenant day 2026-11-20T00 0.5',
      ...days.map((day) => `tenant hour ${day.slice(0, 13)} 0.5`),
      'tenant total 1970-01-01T00 2',
    ],
  )
  await assertHealthy(t, pool)
})
