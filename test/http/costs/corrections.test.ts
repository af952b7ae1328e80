import t from 'tap'
import { balancesOf } from '../../helpers/money/books.ts'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService, type Answer } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const { pool } = database
await setNow(database, '2026-11-20T12:00:00Z')
const services = await Promise.all([startService(t, database.url), startService(t, database.url)])
const [service] = services

type Fields = Record<string, unknown>

/** Books one direct record and returns its id. */
async function recorded(tenantId: string, fields: Fields): Promise<string> {
  const records = [{ resource_type: 'llm', tenant_id: tenantId, ...fields }]
  const { status, json, text } = await service.call('POST', '/v1/cost-records', { records })
  if (status !== 201) throw new Error(text)
  return json.data[0].cost_record_id
}
const correct = (id: string, body: Fields, headers: Record<string, string> = {}, at = service): Promise<Answer> =>
  at.call('POST', `/v1/cost-records/${id}/correct`, { reason: 'invoice', ...body }, headers)
const held = (body: Fields) => service.call('POST', '/v1/reservations', body)
const commit = (id: string, body: Fields, at = service) => at.call('POST', `/v1/reservations/${id}/commit`, body)

async function linesOf(tenantId: string): Promise<string[]> {
  const { json } = await service.call('GET', `/v1/cost-records?tenant_id=${tenantId}`)
  return json.data.map((line: Fields) => String(line['cost_usd'])).sort()
}

const argon = (usage: Fields) => ({ llm: { provider: 'google', model: 'gemini-4-argon', usage } })
const thousands = (n: number) => ({ input_tokens: n * 1_000, output_tokens: n * 1_000 })

t.test(
  'a correction books a reversal and the real cost, at the record’s own price date and in its periods',
  async (t) => {
    const occurredAt = '2026-11-20T11:59:00Z'
    const id = await recorded('usage', {
      user_id: 'u',
      labels: { feature: 'chat' },
      occurred_at: occurredAt,
      ...argon({ ...thousands(1), cache_read_tokens: 200 }),
    })
    const before = (await service.call('GET', '/v1/cost-records?tenant_id=usage')).json.data[0]
    await setNow(database, '2026-12-05T00:00:00Z')
    const answer = await correct(id, { usage: thousands(3) })
    t.equal(answer.status, 201, answer.text)
    const [reversal, successor] = answer.json.data
    t.same(reversal, {
      ...before,
      cost_record_id: reversal.cost_record_id,
      usage: { input_tokens: -1_000, output_tokens: -1_000, cache_read_tokens: -200 },
      cost_usd: -before.cost_usd,
      recorded_at: '2026-12-05T00:00:00Z',
      corrects: id,
    })
    t.same(successor, {
      ...before,
      cost_record_id: successor.cost_record_id,
      usage: thousands(3),
      cost_usd: 0.036,
      recorded_at: '2026-12-05T00:00:00Z',
      corrects: id,
    })
    t.equal(before.occurred_at, occurredAt)
    t.same(await balancesOf(pool, 'usage'), ['tenant day 2026-11-20T00 0.036'])
    const sums = await service.call(
      'GET',
      '/v1/costs?tenant_id=usage&from=2026-11-01T00:00:00Z&to=2026-12-31T00:00:00Z',
    )
    t.match(sums.json.total, { cost_usd: 0.036, records: 3, input_tokens: 3_000, output_tokens: 3_000 })
    await assertHealthy(t, pool)
    await setNow(database, '2026-11-20T12:00:00Z')
  },
)

t.test('a corrected record and a reversal cannot be corrected, but the correcting record can', async (t) => {
  const id = await recorded('chain', argon(thousands(1)))
  const first = await correct(id, { cost_usd: '0.5000000000001' })
  t.match(first, {
    status: 201,
    json: { data: [{ cost_usd: -0.012 }, { cost_usd: 0.5, usage: thousands(1), price_id: null }] },
  })
  const [reversal, successor] = first.json.data
  const again = await correct(id, { cost_usd: 0.5 })
  t.match(again, { status: 409, json: { code: 'record_corrected', detail: new RegExp(successor.cost_record_id) } })
  t.match(await correct(reversal.cost_record_id, { cost_usd: 0 }), { status: 409, json: { code: 'record_corrected' } })
  const second = await correct(successor.cost_record_id, { model: 'gpt-6.1-sol', usage: thousands(1) })
  t.match(second.json.data, [{ cost_usd: -0.5 }, { provider: 'openai', model: 'gpt-6.1-sol', usage: thousands(1) }])
  const openai = await service.call('POST', '/v1/estimates', {
    resource_type: 'llm',
    llm: { provider: 'openai', model: 'gpt-6.1-sol', usage: thousands(1) },
  })
  t.equal(second.json.data[1].cost_usd, openai.json.cost_usd)
  t.match(await correct(second.json.data[1].cost_record_id, { cost_usd: 0 }), { status: 201 })
  t.same(await balancesOf(pool, 'chain'), ['tenant day 2026-11-20T00 0'])
  await assertHealthy(t, pool)
})

t.test('after a correction of its cost record, a repeated commit still answers the same', async (t) => {
  const run = await held({ resource_type: 'e2b', tenant_id: 'committed', e2b: { tier: 'medium', max_seconds: 100 } })
  const body = { usage: { seconds: 50 }, sandbox_id: 'sbx_1' }
  const committed = await commit(run.json.reservation_id, body)
  const answer = await correct(committed.json.cost_record_id, { usage: { seconds: 200 } })
  t.equal(answer.status, 201, answer.text)
  t.match(answer.json.data, [
    { usage: { seconds: -50 }, reservation_id: run.json.reservation_id, overrun: false },
    { usage: { seconds: 200 }, reservation_id: run.json.reservation_id, overrun: true, tier: 'medium' },
  ])
  t.equal(answer.json.data[1].cost_usd, 4 * committed.json.cost_usd)
  t.same({ ...(await commit(run.json.reservation_id, body)).json, quotas: [] }, { ...committed.json, quotas: [] })
  t.same(await balancesOf(pool, 'committed'), [`tenant day 2026-11-20T00 ${answer.json.data[1].cost_usd}`])
  const read = await service.call('GET', `/v1/reservations/${run.json.reservation_id}`)
  t.same(read.json.cost_record_ids, [
    committed.json.cost_record_id,
    ...answer.json.data.map((line: Fields) => line['cost_record_id']),
  ])
  await assertHealthy(t, pool)
})

/** Makes a lapsed and charged hold of 1.00 USD. Returns its id and that of its cost record. */
async function lapse(tenantId: string) {
  const { json } = await held({
    resource_type: 'e2b',
    tenant_id: tenantId,
    estimated_cost_usd: 1,
    on_expiry: 'charge',
    ttl_seconds: 1,
  })
  const id: string = json.reservation_id
  await setNow(database, '2026-11-20T12:00:01Z')
  for (;;) {
    const read = await service.call('GET', `/v1/reservations/${id}`)
    if (read.json.status === 'expired') return { id, lineId: read.json.cost_record_ids[0] as string }
  }
}

t.test('a late commit replaces a charged lapse that was already corrected', async (t) => {
  const { id, lineId } = await lapse('lapsed')
  await setNow(database, '2026-11-20T13:00:00Z')
  const answer = await correct(lineId, { cost_usd: 0.75 })
  t.match(answer.json.data, [
    { cost_usd: -1, estimated: true },
    { cost_usd: 0.75, estimated: false },
  ])
  t.match((await service.call('GET', `/v1/reservations/${id}`)).json, { status: 'expired', cost_usd: 0.75 })
  await setNow(database, '2026-11-20T14:00:00Z')
  t.match(await commit(id, { actual_cost_usd: 0.25 }), { status: 200, json: { late: true, cost_usd: 0.25 } })
  t.same(await linesOf('lapsed'), ['-0.75', '-1', '0.25', '0.75', '1'])
  t.same(await balancesOf(pool, 'lapsed'), ['tenant day 2026-11-20T00 0.25'])
  const read = await service.call('GET', `/v1/reservations/${id}`)
  t.equal(read.json.cost_record_ids.length, 5)
  t.match(await correct(lineId, { cost_usd: 2 }), { status: 409 })
  await assertHealthy(t, pool)
  await setNow(database, '2026-11-20T12:00:00Z')
})

t.test('a correction concurrent with a late commit runs before it or is refused', async (t) => {
  const { id, lineId } = await lapse('both')
  const [corrected, committed] = await Promise.all([
    correct(lineId, { cost_usd: 0.75 }),
    commit(id, { actual_cost_usd: 0.25 }, services[1]),
  ])
  t.ok([201, 409].includes(corrected.status), corrected.text)
  t.match(committed, { status: 200, json: { cost_usd: 0.25 } })
  t.same(await balancesOf(pool, 'both'), ['tenant day 2026-11-20T00 0.25'])
  await assertHealthy(t, pool)
  await setNow(database, '2026-11-20T12:00:00Z')
})

t.test('a correction also counts in balances opened since, and no balance goes below zero', async (t) => {
  const id = await recorded('since', { cost_usd: 8, occurred_at: '2026-11-20T09:00:00Z' })
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'since', period: 'month', limit_usd: 100 })
  await service.call('PUT', '/v1/quotas', {
    scope: 'tenant',
    tenant_id: 'since',
    period: 'day',
    limit_usd: 100,
    time_zone: 'Asia/Tokyo',
  })
  await setNow(database, '2026-11-23T12:00:00Z')
  t.match(await correct(id, { cost_usd: 3 }), { status: 201 })
  t.same(await balancesOf(pool, 'since'), ['tenant day 2026-11-19T15 3', 'tenant month 2026-11-01T00 3'])
  const old = await recorded('since', { cost_usd: 4, occurred_at: '2026-11-19T10:00:00Z' })
  t.same(
    await balancesOf(pool, 'since'),
    ['tenant day 2026-11-19T15 3', 'tenant day 2026-11-22T15 0', 'tenant month 2026-11-01T00 7'],
    'a day that ended before its quota existed gets no balance',
  )
  t.match(await correct(old, { cost_usd: 0 }), { status: 201 })
  t.ok((await balancesOf(pool, 'since')).includes('tenant month 2026-11-01T00 3'))
  await assertHealthy(t, pool)
  await setNow(database, '2026-11-20T12:00:00Z')
})

t.test('no quota refuses a correction', async (t) => {
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'over', period: 'day', limit_usd: 1 })
  const id = await recorded('over', { cost_usd: 1 })
  t.match(await correct(id, { cost_usd: 5 }), { status: 201 })
  t.same(await balancesOf(pool, 'over'), ['tenant day 2026-11-20T00 5'])
  await assertHealthy(t, pool)
})

t.test('an invalid correction is refused with its pointer, and nothing is booked', async (t) => {
  const id = await recorded('bad', argon(thousands(1)))
  const plain = await recorded('bad', { cost_usd: 1 })
  const run = await recorded('bad', { resource_type: 'e2b', e2b: { seconds: 10 } })
  for (const [to, body, pointer] of [
    [id, {}, '/usage'],
    [id, { usage: thousands(1), cost_usd: 1 }, '/cost_usd'],
    [id, { usage: { seconds: 1 } }, '/usage/seconds'],
    [id, { cost_usd: -1 }, '/cost_usd'],
    [id, { cost_usd: 1, reason: undefined }, '/reason'],
    [id, { cost_usd: 1, reason: '' }, '/reason'],
    [id, { cost_usd: 1, because: 'x' }, '/because'],
    [plain, { usage: thousands(1) }, '/model'],
    [run, { usage: thousands(1) }, '/usage'],
    [run, { cost_usd: 1, model: 'gpt-6.1-sol' }, '/model'],
    ['not-a-uuid', { cost_usd: 1 }, 'cost_record_id'],
  ] as const) {
    t.match(await correct(to, body), { status: 400, json: { errors: [{ pointer }] } }, pointer)
  }
  t.match(await correct(id, { usage: thousands(1), model: 'no-such' }), {
    status: 422,
    json: { code: 'price_not_found', provider: 'google', model: 'no-such' },
  })
  const unknown = '01980000-0000-7000-8000-000000000000'
  t.match(await correct(unknown, { cost_usd: 1 }), { status: 404, json: { code: 'not_found' } })
  for (const role of ['service', 'viewer'] as const) {
    t.match(await correct(id, { cost_usd: 1 }, await service.keyFor(role)), { status: 403 }, role)
  }
  t.equal((await linesOf('bad')).length, 3)
  t.match(
    await correct(id.toUpperCase(), { cost_usd: 1 }),
    { status: 201 },
    'after all refusals the record can still be corrected',
  )
  await assertHealthy(t, pool)
})

t.test('twenty concurrent corrections of a record book one', async (t) => {
  const id = await recorded('race', { cost_usd: 1, user_id: 'u' })
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => correct(id, { cost_usd: 2 + n }, {}, services[n % 2])),
  )
  t.equal(answers.filter(({ status }) => status === 201).length, 1)
  t.same(
    answers.filter(({ status }) => status !== 201).map(({ json }) => json.code),
    Array(19).fill('record_corrected'),
  )
  const [won] = answers.filter(({ status }) => status === 201)
  t.same(await balancesOf(pool, 'race'), [`tenant day 2026-11-20T00 ${won!.json.data[1].cost_usd}`])
  t.equal((await linesOf('race')).length, 3)
  await assertHealthy(t, pool)
})

t.test(
  'a batch request keeps its tier in its commit and its correction, whatever tier the provider names',
  async (t) => {
    const llm = {
      provider: 'openai',
      model: 'gpt-6.1-sol',
      input_tokens: 1_000,
      max_output_tokens: 1_000,
      service_tier: 'batch',
    }
    const { json } = await held({ resource_type: 'llm', tenant_id: 'batched', llm })
    const usage = { ...thousands(1), service_tier: 'standard' }
    const { cost_usd: costUsd, cost_record_id: id } = (await commit(json.reservation_id, { usage })).json
    t.equal(costUsd, 0.006, 'half of 0.012')
    // Retention deletes its reservation later.
    await pool.query('delete from copilot_internal.reservations where reservation_id = $1', [json.reservation_id])
    const corrected = await correct(id, { usage: { ...usage, output_tokens: 2_000 } })
    t.match(corrected.json.data[1], { cost_usd: 0.011 }, corrected.text)
  },
)
