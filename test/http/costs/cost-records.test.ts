import fc from 'fast-check'
import t from 'tap'
import { insertCostLines, parseDigits, type CostLine } from '../../helpers/money/cost-lines.ts'
import { queryText, type Query } from '../../helpers/money/costs.ts'
import { createDatabase } from '../../helpers/database.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)
const seed = Number(process.env['PURSER_TEST_SEED'] ?? Date.now() % 2 ** 31)
t.comment(`property tests with seed ${seed}; PURSER_TEST_SEED repeats them`)

type Listed = { cost_record_id: string } & Record<string, unknown>

const get = (query: Query, headers: Record<string, string> = {}) =>
  service.call('GET', `/v1/cost-records?${queryText(query)}`, undefined, headers)

async function idsOf(query: Query): Promise<string[]> {
  const { status, json, text } = await get({ limit: 1000, ...query })
  if (status !== 200) throw new Error(text)
  return json.data.map((record: Listed) => record.cost_record_id)
}

/** All pages of a list; `between` runs after each page but the last. */
async function walk(query: Query, between = async () => {}): Promise<{ ids: string[]; pages: number }> {
  const ids: string[] = []
  for (let pages = 1, cursor: string | null = null; ; pages += 1) {
    const { json } = await get({ ...query, ...(cursor === null ? {} : { cursor }) })
    ids.push(...json.data.map((record: Listed) => record.cost_record_id))
    cursor = json.next_cursor
    if (cursor === null) return { ids, pages }
    await between()
  }
}

t.test('the cost records of a committed call and a committed sandbox run have all known fields', async (t) => {
  const attribution = {
    tenant_id: 'full',
    user_id: 'u-17',
    conversation_id: 'c-9',
    path_id: 'p-2',
    labels: { feature: 'chat', team: 'a "b" \\ 日本 %' },
  }
  const call = await service.call('POST', '/v1/reservations', {
    resource_type: 'llm',
    ...attribution,
    llm: { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 12_000, max_output_tokens: 2_000 },
  })
  const usage = { input_tokens: 12_362, cache_read_tokens: 4_096, output_tokens: 640 }
  const booked = await service.call('POST', `/v1/reservations/${call.json.reservation_id}/commit`, { usage })
  const run = await service.call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    ...attribution,
    e2b: { tier: 'standard', max_seconds: 10 },
  })
  const ran = await service.call('POST', `/v1/reservations/${run.json.reservation_id}/commit`, {
    usage: { seconds: 412.6 },
  })
  const { json, text } = await get({ tenant_id: 'full' })
  t.equal(json.next_cursor, null)
  t.same(json.data, [
    {
      cost_record_id: ran.json.cost_record_id,
      reservation_id: run.json.reservation_id,
      resource_type: 'e2b',
      ...attribution,
      provider: null,
      model: null,
      tier: 'standard',
      usage: { seconds: 412.6 },
      cost_usd: ran.json.cost_usd,
      price_id: ran.json.price_id,
      occurred_at: run.json.created_at,
      recorded_at: json.data[0].recorded_at,
      late: false,
      overrun: true,
      estimated: false,
      corrects: null,
    },
    {
      cost_record_id: booked.json.cost_record_id,
      reservation_id: call.json.reservation_id,
      resource_type: 'llm',
      ...attribution,
      provider: 'openai',
      model: 'gpt-6.1-sol',
      tier: null,
      usage,
      cost_usd: 0.0233416,
      price_id: booked.json.price_id,
      occurred_at: call.json.created_at,
      recorded_at: json.data[1].recorded_at,
      late: false,
      overrun: false,
      estimated: false,
      corrects: null,
    },
  ])
  t.match(text, '"cost_usd":0.0233416,', 'exactly the stored digits')
  t.match(json.data[0].recorded_at, /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/)
})

t.test(
  'a late commit of a charged lapse makes three cost records: the charge, its reversal and the cost',
  async (t) => {
    const { json: held } = await service.call('POST', '/v1/reservations', {
      resource_type: 'e2b',
      tenant_id: 'lapse',
      ttl_seconds: 1,
      e2b: { tier: 'standard', max_seconds: 100 },
    })
    const path = `/v1/reservations/${held.reservation_id}`
    for (let tries = 0; (await service.call('GET', path)).json.status === 'reserved'; tries += 1) {
      if (tries === 100) throw new Error('the hold did not lapse within 10 s')
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    const { json: committed } = await service.call('POST', `${path}/commit`, { usage: { seconds: 40 } })
    const { json } = await get({ tenant_id: 'lapse' })
    const { cost_record_ids: ids } = (await service.call('GET', path)).json
    const lines = new Map<string, Listed>(json.data.map((line: Listed) => [line.cost_record_id, line]))
    t.equal(lines.size, 3)
    const [charge, reversal, cost] = ids.map((id: string) => lines.get(id))
    t.match(charge, { estimated: true, corrects: null, cost_usd: held.reserved_usd })
    t.match(reversal, { corrects: ids[0], cost_usd: -held.reserved_usd, occurred_at: charge?.['occurred_at'] })
    t.match(cost, { corrects: ids[0], late: true, estimated: false, cost_usd: committed.cost_usd })
    t.same((await idsOf({ tenant_id: 'lapse', estimated: false, late: true })).includes(ids[2]), true)
  },
)

t.test('amounts, quantities and ids keep all their digits', async (t) => {
  await insertCostLines(database.pool, [
    {
      tenant_id: 'digits',
      cost_usd: '123456789.012345678901',
      usage:
        '{"input_tokens": 12345678901234567890, "service_tier": "standard", "nested": {"share": 0.1234567890123456789}}',
      price_id: 1,
      occurred_at: '2026-03-01T00:00:00.000001Z',
      recorded_at: '2026-03-01T00:00:03Z',
    },
    {
      resource_type: 'e2b',
      tenant_id: 'digits',
      cost_usd: '-0.000000000001',
      usage: '{"seconds": -9999999.1234567890123456}',
      occurred_at: '2026-03-01T00:00:00Z',
      recorded_at: '2026-03-01T00:00:02Z',
    },
    {
      tenant_id: 'digits',
      cost_usd: '100.000000000000',
      occurred_at: '2026-03-01T00:00:00Z',
      recorded_at: '2026-03-01T00:00:01Z',
    },
  ])
  const [first, second, third] = (parseDigits((await get({ tenant_id: 'digits' })).text) as { data: Listed[] }).data
  t.equal(first?.['cost_usd'], '123456789.012345678901')
  t.same(first?.['usage'], {
    input_tokens: '12345678901234567890',
    service_tier: 'standard',
    nested: { share: '0.1234567890123456789' },
  })
  t.equal(second?.['cost_usd'], '-0.000000000001', 'no exponent')
  t.same(second?.['usage'], { seconds: '-9999999.1234567890123456' })
  t.match(third, { cost_usd: '100', usage: {}, price_id: null, reservation_id: null })
})

const AT = '2026-05-10T12:00:00Z'

t.test('every filter narrows the list, alone and combined', async (t) => {
  const base = { tenant_id: 'filter', cost_usd: '1', occurred_at: AT }
  const reservationId = '01990000-0000-7000-8000-000000000001'
  const odd = `x' or '1'='1 "%_\\ ключ 🜚`
  const [plain, rich, sandbox, early, other] = await insertCostLines(database.pool, [
    base,
    {
      ...base,
      user_id: 'u-1',
      conversation_id: 'c-1',
      path_id: 'p-1',
      labels: { feature: 'chat', odd, empty: '' },
      provider: 'openai',
      model: 'openai/gpt-oss-20b',
      reservation_id: reservationId,
      late: true,
    },
    { ...base, resource_type: 'e2b', tier: 'standard', labels: { feature: 'chat' }, overrun: true },
    { ...base, occurred_at: '2026-05-10T11:59:59.999999Z', labels: { feature: 'search' }, estimated: true },
    { ...base, tenant_id: 'filter-2', user_id: 'u-1' },
  ])
  const cases: [Query, (string | undefined)[]][] = [
    [{}, [plain, rich, sandbox, early]],
    [{ user_id: 'u-1' }, [rich]],
    [{ conversation_id: 'c-1' }, [rich]],
    [{ path_id: 'p-1' }, [rich]],
    [{ provider: 'openai' }, [rich]],
    [{ model: 'openai/gpt-oss-20b' }, [rich]],
    [{ tier: 'standard' }, [sandbox]],
    [{ resource_type: 'e2b' }, [sandbox]],
    [{ resource_type: 'llm' }, [plain, rich, early]],
    [{ reservation_id: reservationId }, [rich]],
    [{ reservation_id: reservationId.toUpperCase() }, [rich]],
    [{ late: true }, [rich]],
    [{ late: false }, [plain, sandbox, early]],
    [{ overrun: true }, [sandbox]],
    [{ estimated: true }, [early]],
    [{ 'label.feature': 'chat' }, [rich, sandbox]],
    [{ 'label.feature': 'chat', 'label.odd': odd }, [rich]],
    [{ 'label.feature': 'search', 'label.odd': odd }, []],
    [{ 'label.empty': '' }, [rich]],
    [{ 'label.nobody_has_it': 'chat' }, []],
    [{ from: AT }, [plain, rich, sandbox]],
    [{ to: AT }, [early]],
    [{ from: '2026-05-10T13:00:00+01:00', to: '2026-05-10t12:00:00.000001z' }, [plain, rich, sandbox]],
    [{ from: AT, to: AT }, []],
    [{ from: '1000-01-01T00:00:00+14:00', to: '9999-12-31T23:59:59Z' }, [plain, rich, sandbox, early]],
    [{ user_id: `u-1' or true --` }, []],
  ]
  for (const [query, expected] of cases) {
    t.same(new Set(await idsOf({ tenant_id: 'filter', ...query })), new Set(expected), JSON.stringify(query))
  }
  t.same(new Set(await idsOf({ user_id: 'u-1', from: AT, to: '2026-05-10T12:00:01Z' })), new Set([rich, other]))
})

t.test('the list is newest first, and records of the same moment are in the order of their ids', async (t) => {
  const line = (id: string, recordedAt: string, more: Partial<CostLine> = {}): CostLine => ({
    cost_record_id: `01990000-0000-7000-8000-00000000000${id}`,
    tenant_id: 'order',
    cost_usd: '1',
    occurred_at: AT,
    recorded_at: recordedAt,
    ...more,
  })
  const [a, b, c, d, e] = await insertCostLines(database.pool, [
    line('1', '2026-06-01T00:00:00.000001Z'),
    line('2', '2026-06-01T00:00:00.000002Z', { resource_type: 'e2b' }),
    line('3', '2026-06-01T00:00:00.000002Z', { occurred_at: '2026-05-01T00:00:00Z' }),
    line('4', '2026-06-01T00:00:00Z'),
    line('5', '2026-05-31T23:59:59Z', { occurred_at: '2026-05-31T23:59:59Z' }),
  ])
  t.same(await idsOf({ tenant_id: 'order' }), [c, b, a, d, e])
  const { ids, pages } = await walk({ tenant_id: 'order', limit: 1 })
  t.same(
    ids,
    [c, b, a, d, e],
    'the order also holds page by page, across microseconds of one millisecond and both tables',
  )
  t.equal(pages, 5)
})

t.test('paging sees each record once while others are added', async (t) => {
  // Many records share a moment, as the records of one batch do.
  const moment = fc.integer({ min: 0, max: 8 }).map((n) => `2026-07-01T00:00:00.00000${n}Z`)
  const aLine = fc.record({
    resource_type: fc.constantFrom('llm' as const, 'e2b' as const),
    recorded_at: moment,
    late: fc.boolean(),
  })
  let walks = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(aLine, { maxLength: 30 }),
      fc.integer({ min: 1, max: 12 }),
      fc.boolean(),
      async (lines, limit, onlyLate) => {
        const tenantId = `walk-${(walks += 1)}`
        const complete = lines.map((line) => ({ ...line, tenant_id: tenantId, cost_usd: '1', occurred_at: AT }))
        const ids = lines.length === 0 ? [] : await insertCostLines(database.pool, complete)
        const expected = ids.filter((_, index) => !onlyLate || lines[index]!.late)
        let added = 0
        const add = async () => {
          const recordedAt = `2026-07-02T00:00:00.00000${(added += 1) % 10}Z`
          const line = { tenant_id: tenantId, cost_usd: '1', occurred_at: AT, recorded_at: recordedAt, late: true }
          await insertCostLines(database.pool, [line, { ...line, resource_type: 'e2b' }])
        }
        const query = { tenant_id: tenantId, limit, ...(onlyLate ? { late: true } : {}) }
        const seen = await walk(query, add)
        t.same([...seen.ids].sort(), expected.sort())
        t.equal(seen.pages, Math.max(1, Math.ceil(expected.length / limit)), 'only the last page is short')
      },
    ),
    { seed, numRuns: 25 },
  )
})

t.test('a bound key sees only its tenant’s records', async (t) => {
  const [own] = await insertCostLines(database.pool, [
    { tenant_id: 'mine', cost_usd: '1', occurred_at: AT },
    { tenant_id: 'theirs', cost_usd: '1', occurred_at: AT },
  ])
  const bound = await service.keyFor('viewer', 'mine')
  for (const query of [{}, { tenant_id: 'mine' }]) {
    const { status, json } = await get(query, bound)
    t.equal(status, 200)
    t.same(
      json.data.map((record: Listed) => record.cost_record_id),
      [own],
    )
  }
  t.match(await get({ tenant_id: 'theirs' }, bound), { status: 403, json: { code: 'forbidden' } })
  const theirs = { tenant_id: 'theirs' }
  t.match(await get(theirs, await service.keyFor('viewer')), { status: 200, json: { data: [theirs] } })
  t.match(await get({}, { authorization: 'Bearer nobody' }), { status: 401 })
})

t.test('a cursor of one tenant reveals nothing of another tenant', async (t) => {
  const lines = ['1', '2', '3'].map((cost) => ({ tenant_id: 'cursor-a', cost_usd: cost, occurred_at: AT }))
  await insertCostLines(database.pool, [
    ...lines,
    { tenant_id: 'cursor-b', cost_usd: '9', occurred_at: '2026-01-01T00:00:00Z' },
  ])
  const { json } = await get({ tenant_id: 'cursor-a', limit: 1 })
  const answer = await get({ cursor: json.next_cursor }, await service.keyFor('viewer', 'cursor-b'))
  t.same(
    answer.json.data.map((record: Listed) => record.tenant_id),
    ['cursor-b'],
  )
})

t.test('an unknown parameter or value is a 400 with its pointer', async (t) => {
  const cursorOf = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const id = '01990000-0000-7000-8000-000000000001'
  const cases: [string, string][] = [
    ['tenant=acme', 'tenant'],
    ['label.Feature=chat', 'label.Feature'],
    ['label.=chat', 'label.'],
    ['labels=chat', 'labels'],
    ["label.a'b=chat", "label.a'b"],
    ['label.feature=a&label.feature=b', 'label.feature'],
    ['label.feature=somebody@example.com', 'label.feature'],
    ['label.feature=%00', 'label.feature'],
    ['tenant_id=a&tenant_id=b', 'tenant_id'],
    ['tenant_id=', 'tenant_id'],
    ['user_id=somebody@example.com', 'user_id'],
    ['resource_type=gpu', 'resource_type'],
    ['reservation_id=7', 'reservation_id'],
    ['late=perhaps', 'late'],
    ['from=yesterday', 'from'],
    ['from=2026-02-30T00:00:00Z', 'from'],
    ['from=2026-11-24T24:00:00Z', 'from'],
    ['from=2026-11-24', 'from'],
    ['from=2026-11-24T00:00:01Z&to=2026-11-24T00:00:00Z', 'from'],
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['limit=many', 'limit'],
    ['cursor=', 'cursor'],
    ['cursor=nonsense', 'cursor'],
    [`cursor=${cursorOf(null)}`, 'cursor'],
    [`cursor=${cursorOf({ recordedMicros: '1', recordId: '7' })}`, 'cursor'],
    [`cursor=${cursorOf({ recordedMicros: 1, recordId: id })}`, 'cursor'],
    [`cursor=${cursorOf({ recordedMicros: `1'`, recordId: id })}`, 'cursor'],
    [`cursor=${cursorOf({ recordedMicros: '9'.repeat(30), recordId: id })}`, 'cursor'],
    [`cursor=${cursorOf({ recordedMicros: '9'.repeat(18), recordId: id })}`, 'cursor'],
  ]
  for (const [query, pointer] of cases) {
    const { status, json } = await service.call('GET', `/v1/cost-records?${query}`)
    t.match(
      { status, code: json.code, pointer: json.errors?.[0]?.pointer },
      { status: 400, code: 'invalid_request', pointer },
      query,
    )
  }
  const farthest = cursorOf({ recordedMicros: '253402300799000000', recordId: id })
  t.match(await get({ cursor: farthest, limit: 1 }), { status: 200 }, 'a forged cursor is only a position')
})
