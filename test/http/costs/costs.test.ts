import t from 'tap'
import { insertCostLines, type CostLine } from '../../helpers/money/cost-lines.ts'
import { costsReader, sumOf, type Costs, type Query, type Sums } from '../../helpers/money/costs.ts'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { startService } from '../../helpers/servers/service.ts'

const NOW = '2026-11-24T12:00:00Z'

const database = await createDatabase(t)
await setNow(database, NOW)
const service = await startService(t, database.url)

const { get, costs, allCosts } = costsReader(service)

const NOTHING: Sums = { cost_usd: '0', records: '0', input_tokens: '0', output_tokens: '0', seconds: '0' }

const keysOf = ({ groups }: Costs) => groups.map(({ key }) => key)
const pairsOf = ({ groups }: Costs, name: string) => groups.map(({ key, cost_usd }) => [key[name], cost_usd])

// One tenant with a cost of 1, 2, 4, 8… USD at each of these times, so that a sum shows which of them it includes.
async function linesAt(tenantId: string, times: string[], more: Partial<CostLine> = {}): Promise<void> {
  const lines = times.map((occurredAt, index) => ({
    tenant_id: tenantId,
    cost_usd: String(2 ** index),
    occurred_at: occurredAt,
    recorded_at: NOW,
    ...more,
  }))
  await insertCostLines(database.pool, lines)
}

t.test('committed costs are summed by tenant, model and day', async (t) => {
  for (const [userId, tokens] of [
    ['u-1', 12_000],
    ['u-2', 100],
  ] as const) {
    const held = await service.call('POST', '/v1/reservations', {
      resource_type: 'llm',
      tenant_id: 'acme',
      user_id: userId,
      llm: { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: tokens, max_output_tokens: 2_000 },
    })
    const usage = { input_tokens: tokens, output_tokens: 640 }
    await service.call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, { usage })
  }
  const run = await service.call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    tenant_id: 'acme',
    e2b: { tier: 'standard', max_seconds: 10 },
  })
  const ran = await service.call('POST', `/v1/reservations/${run.json.reservation_id}/commit`, {
    usage: { seconds: 7.25 },
  })
  const answer = await costs({ group_by: 'tenant,model,day', tenant_id: 'acme' })
  const model = { cost_usd: '0.037', records: '2', input_tokens: '12100', output_tokens: '1280', seconds: '0' }
  const sandbox = { ...NOTHING, cost_usd: String(ran.json.cost_usd), records: '1', seconds: '7.25' }
  t.same(answer, {
    from: '2026-10-25T12:00:00.001Z',
    to: '2026-11-24T12:00:00.001Z',
    time_zone: 'UTC',
    total: {
      cost_usd: sumOf([model.cost_usd, sandbox.cost_usd]),
      records: '3',
      input_tokens: '12100',
      output_tokens: '1280',
      seconds: '7.25',
    },
    groups: [
      { key: { tenant: 'acme', model: 'gpt-6.1-sol', day: '2026-11-24' }, ...model },
      { key: { tenant: 'acme', model: null, day: '2026-11-24' }, ...sandbox },
    ],
    next_cursor: null,
  })
})

t.test('the default range is the last 30 days by the clock of Postgres, and half a range is completed', async (t) => {
  await linesAt('range', [
    '2026-10-25T12:00:00.000999Z',
    '2026-10-25T12:00:00.001Z',
    '2026-11-20T00:00:00Z',
    NOW,
    '2026-11-24T12:00:00.001Z',
  ])
  const sum = async (query: Query) => (await costs({ tenant_id: 'range', ...query })).total.cost_usd
  t.equal(await sum({}), '14')
  t.equal(await sum({ from: '2026-10-25T12:00:00Z' }), '15', 'the range ends now')
  t.equal(await sum({ to: '2026-11-24T12:00:00Z' }), '7', '30 days before it; the end is exclusive')
  t.equal(await sum({ from: '2026-11-20T00:00:00Z', to: '2026-11-24T12:00:00.002Z' }), '28', 'the start is inclusive')
  t.match(await costs({ from: '2026-11-20T01:00:00+01:00', to: NOW }), { from: '2026-11-20T00:00:00Z', to: NOW })
})

t.test('an empty range, a range without records and a future one are zero', async (t) => {
  await linesAt('empty', ['2026-11-01T00:00:00Z'])
  for (const query of [
    { tenant_id: 'empty', from: '2026-11-01T00:00:00Z', to: '2026-11-01T00:00:00Z' },
    { tenant_id: 'empty', from: '2026-11-02T00:00:00Z' },
    { tenant_id: 'empty', from: '2030-01-01T00:00:00Z' },
    { tenant_id: 'nobody' },
    { tenant_id: 'nobody', compare: 'previous' },
  ]) {
    const answer = await costs({ ...query, group_by: 'tenant,day' })
    const previous = 'compare' in query ? { previous_cost_usd: '0' } : {}
    t.match(answer, { total: { ...NOTHING, ...previous }, groups: [], next_cursor: null }, JSON.stringify(query))
  }
  t.match((await costs({ from: '2030-01-01T00:00:00Z' })).to, '2030-01-01T00:00:00Z')
})

t.test('the widest possible range is summed, and so is the range before it', async (t) => {
  await linesAt('wide', ['1969-12-31T23:59:59Z', '2026-11-01T00:00:00Z'])
  const range = { from: '1000-01-01T00:00:00+14:00', to: '9999-12-31T23:59:59Z' }
  const answer = await costs({
    tenant_id: 'wide',
    ...range,
    group_by: 'hour',
    time_zone: 'Asia/Kathmandu',
    compare: 'previous',
  })
  t.match(answer.total, { cost_usd: '3', previous_cost_usd: '0' })
})

t.test('without group_by there is a total and no group', async (t) => {
  await linesAt('total', ['2026-11-01T00:00:00Z', '2026-11-02T00:00:00Z'])
  t.match(await costs({ tenant_id: 'total' }), {
    total: { cost_usd: '3', records: '2' },
    groups: [],
    next_cursor: null,
  })
})

t.test('a correction’s negative record is part of the sums', async (t) => {
  const line = { tenant_id: 'corrected', occurred_at: '2026-11-01T10:00:00Z', recorded_at: NOW, model: 'm' }
  const [corrects] = await insertCostLines(database.pool, [{ ...line, cost_usd: '2', input_tokens: '70' }])
  await insertCostLines(database.pool, [
    { ...line, cost_usd: '-2', input_tokens: '-70', corrects: corrects! },
    { ...line, cost_usd: '0.5', input_tokens: '20', corrects: corrects! },
  ])
  const answer = await costs({ tenant_id: 'corrected', group_by: 'model' })
  const sums = { ...NOTHING, cost_usd: '0.5', records: '3', input_tokens: '20' }
  t.same(answer.total, sums)
  t.same(answer.groups, [{ key: { model: 'm' }, ...sums }])
})

t.test('sums keep all their digits, more than a double holds', async (t) => {
  const line = { tenant_id: 'digits', occurred_at: '2026-11-01T10:00:00Z', recorded_at: NOW }
  await insertCostLines(database.pool, [
    {
      ...line,
      cost_usd: '999999999.000000000001',
      input_tokens: '9007199254740993',
      output_tokens: '4611686018427387904',
    },
    {
      ...line,
      cost_usd: '999999999.999999999999',
      input_tokens: '9007199254740993',
      output_tokens: '4611686018427387904',
    },
    { ...line, cost_usd: '0', resource_type: 'e2b', seconds: '10000000.000000000000000001' },
    { ...line, cost_usd: '0', resource_type: 'e2b', seconds: '0.2' },
  ])
  t.same((await costs({ tenant_id: 'digits' })).total, {
    cost_usd: '1999999999',
    records: '4',
    input_tokens: '18014398509481986',
    output_tokens: '9223372036854775808',
    seconds: '10000000.200000000000000001',
  })
})

t.test('time buckets begin by the requested time zone', async (t) => {
  const times = ['2026-10-31T23:30:00Z', '2026-11-01T04:30:00Z', '2026-11-01T05:30:00Z', '2026-11-02T00:00:00Z']
  await linesAt('zones', times)
  const by = async (bucket: string, timeZone?: string) =>
    pairsOf(
      await costs({ tenant_id: 'zones', group_by: bucket, ...(timeZone === undefined ? {} : { time_zone: timeZone }) }),
      bucket,
    )
  t.same(await by('day'), [
    ['2026-10-31', '1'],
    ['2026-11-01', '6'],
    ['2026-11-02', '8'],
  ])
  t.same(await by('day', 'America/New_York'), [
    ['2026-10-31', '1'],
    ['2026-11-01', '14'],
  ])
  t.same(await by('month'), [
    ['2026-10', '1'],
    ['2026-11', '14'],
  ])
  t.same(await by('month', 'Asia/Kathmandu'), [['2026-11', '15']])
  t.same(
    await by('week'),
    [
      ['2026-10-26', '7'],
      ['2026-11-02', '8'],
    ],
    'named by its Monday',
  )
  t.same(await by('week', 'America/New_York'), [['2026-10-26', '15']])
  t.same(await by('hour'), [
    ['2026-10-31T23:00:00Z', '1'],
    ['2026-11-01T04:00:00Z', '2'],
    ['2026-11-01T05:00:00Z', '4'],
    ['2026-11-02T00:00:00Z', '8'],
  ])
  t.same(await by('hour', 'Asia/Kathmandu'), [
    ['2026-11-01T05:00:00+05:45', '1'],
    ['2026-11-01T10:00:00+05:45', '2'],
    ['2026-11-01T11:00:00+05:45', '4'],
    ['2026-11-02T05:00:00+05:45', '8'],
  ])
  t.equal((await costs({ tenant_id: 'zones', time_zone: 'Asia/Kathmandu' })).time_zone, 'Asia/Kathmandu')
})

t.test('the repeated hour when clocks go back is two groups, in the order of time', async (t) => {
  await linesAt('dst', ['2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z', '2026-10-25T02:30:00Z'])
  const range = { tenant_id: 'dst', from: '2026-10-24T00:00:00Z' }
  const hours = await costs({ ...range, group_by: 'hour', time_zone: 'Europe/Berlin' })
  t.same(pairsOf(hours, 'hour'), [
    ['2026-10-25T02:00:00+02:00', '1'],
    ['2026-10-25T02:00:00+01:00', '2'],
    ['2026-10-25T03:00:00+01:00', '4'],
  ])
  const dublin = await costs({ ...range, group_by: 'hour', time_zone: 'Europe/Dublin' })
  t.same(pairsOf(dublin, 'hour'), [
    ['2026-10-25T01:00:00+01:00', '1'],
    ['2026-10-25T01:00:00Z', '2'],
    ['2026-10-25T02:00:00Z', '4'],
  ])
  const paged = await allCosts({ ...range, group_by: 'hour', time_zone: 'Europe/Berlin', limit: 1 })
  t.same(paged.groups, hours.groups, 'the same page by page')
})

t.test('a day of 25 hours and one of 23 are one group each', async (t) => {
  await linesAt('long', [
    '2026-10-24T21:59:59Z',
    '2026-10-24T22:00:00Z',
    '2026-10-25T22:59:59Z',
    '2026-10-25T23:00:00Z',
  ])
  const long = { tenant_id: 'long', group_by: 'day', time_zone: 'Europe/Berlin', from: '2026-10-01T00:00:00Z' }
  t.same(pairsOf(await costs(long), 'day'), [
    ['2026-10-24', '1'],
    ['2026-10-25', '6'],
    ['2026-10-26', '8'],
  ])
  await linesAt('short', [
    '2026-03-28T22:59:59Z',
    '2026-03-28T23:00:00Z',
    '2026-03-29T21:59:59Z',
    '2026-03-29T22:00:00Z',
  ])
  t.same(pairsOf(await costs({ ...long, tenant_id: 'short', from: '2026-03-01T00:00:00Z' }), 'day'), [
    ['2026-03-28', '1'],
    ['2026-03-29', '6'],
    ['2026-03-30', '8'],
  ])
})

t.test('costs can be grouped and filtered by any label and value', async (t) => {
  const values = [`'; drop table x; --`, '"', '\\', '%', '', 'null', 'ключ 🜚', ',', ' ']
  const lines = [...values, null].map((value, index) => ({
    tenant_id: 'labels',
    cost_usd: String(index + 1),
    occurred_at: '2026-11-01T00:00:00Z',
    labels: value === null ? {} : { odd_1: value, team: 'a' },
  }))
  await insertCostLines(database.pool, lines)
  const answer = await allCosts({ tenant_id: 'labels', group_by: 'label.odd_1', limit: 3 })
  t.same(
    new Map(answer.groups.map(({ key, cost_usd: usd }) => [key['label.odd_1'], usd])),
    new Map([...values, null].map((value, index) => [value, String(index + 1)])),
    'records without the label form a separate group',
  )
  for (const [index, value] of values.entries()) {
    const { total } = await costs({ tenant_id: 'labels', 'label.odd_1': value, 'label.team': 'a' })
    t.equal(total.cost_usd, String(index + 1), JSON.stringify(value))
  }
  const two = await costs({ tenant_id: 'labels', group_by: 'label.team,label.odd_1,label.none', 'label.odd_1': '"' })
  t.same(keysOf(two), [{ 'label.team': 'a', 'label.odd_1': '"', 'label.none': null }])
})

t.test('top answers the most expensive groups in order, with the total of all groups', async (t) => {
  const line = { tenant_id: 'top', occurred_at: '2026-11-01T00:00:00Z' }
  await insertCostLines(
    database.pool,
    [
      ['a', '9'],
      ['b', '10'],
      ['c', '5'],
      ['c', '6'],
      ['d', '9'],
      ['e', '-1'],
    ].map(([user, usd]) => ({ ...line, user_id: user!, cost_usd: usd! })),
  )
  const answer = await costs({ tenant_id: 'top', group_by: 'user', top: 4 })
  t.same(
    pairsOf(answer, 'user'),
    [
      ['c', '11'],
      ['b', '10'],
      ['a', '9'],
      ['d', '9'],
    ],
    'groups of equal cost are in the order of their keys',
  )
  t.equal(answer.total.cost_usd, '38')
  t.equal(answer.next_cursor, null)
  t.equal((await costs({ tenant_id: 'top', group_by: 'user', top: 1000 })).groups.length, 5)
})

t.test('compare=previous adds the span of the same length just before', async (t) => {
  // The range is two days. There are costs in it, in the two days before it, and outside both.
  await linesAt(
    'compare',
    [
      '2026-11-05T23:59:59Z',
      '2026-11-06T00:00:00Z',
      '2026-11-07T23:59:59Z',
      '2026-11-08T00:00:00Z',
      '2026-11-09T12:00:00Z',
      '2026-11-10T00:00:00Z',
    ],
    { input_tokens: '10' },
  )
  await linesAt('compare', ['2026-11-06T12:00:00Z'], { model: 'gone', cost_usd: '100' })
  const range = { tenant_id: 'compare', from: '2026-11-08T00:00:00Z', to: '2026-11-10T00:00:00Z', compare: 'previous' }
  const byDay = await costs({ ...range, group_by: 'day' })
  t.match(byDay.total, { cost_usd: '24', previous_cost_usd: '106', records: '2', input_tokens: '20' })
  t.match(byDay.groups, [
    { key: { day: '2026-11-08' }, cost_usd: '8', previous_cost_usd: '102' },
    { key: { day: '2026-11-09' }, cost_usd: '16', previous_cost_usd: '4' },
  ])
  const byModel = await costs({ ...range, group_by: 'model' })
  t.same(byModel.groups, [
    { key: { model: 'gone' }, ...NOTHING, previous_cost_usd: '100' },
    { key: { model: null }, ...NOTHING, cost_usd: '24', records: '2', input_tokens: '20', previous_cost_usd: '6' },
  ])
  t.notOk('previous_cost_usd' in (await costs({ tenant_id: 'compare' })).total)
})

t.test('paging sees each group once and keeps the first page’s range', async (t) => {
  const users = Array.from({ length: 25 }, (_, index) => `u-${index}`)
  const line = { tenant_id: 'pages', cost_usd: '1', recorded_at: NOW }
  await insertCostLines(
    database.pool,
    users.map((user) => ({ ...line, user_id: user, occurred_at: '2026-11-20T00:00:00Z' })),
  )
  const query = { tenant_id: 'pages', group_by: 'user,day', limit: 10 }
  const first = await costs(query)
  const seen = keysOf(first)
  await setNow(database, '2026-11-24T12:30:00Z')
  t.teardown(() => setNow(database, NOW))
  const ranges = new Set([`${first.from} ${first.to}`])
  for (let cursor = first.next_cursor; cursor !== null;) {
    // New costs in a group before the seen ones, in one that is still to come, and in one already seen.
    for (const user of ['a', 'u-0', 'u-9a']) {
      await insertCostLines(database.pool, [{ ...line, user_id: user, occurred_at: '2026-11-20T00:00:00Z' }])
    }
    const page = await costs({ ...query, cursor })
    ranges.add(`${page.from} ${page.to}`)
    seen.push(...keysOf(page))
    cursor = page.next_cursor
  }
  const names = seen.map(({ user }) => user)
  t.equal(new Set(names).size, names.length, 'no group comes twice')
  t.same(
    users.filter((user) => !names.includes(user)),
    [],
    'no group is missing',
  )
  t.equal(ranges.size, 1)
})

t.test('a cursor can hold the longest possible group key', async (t) => {
  const id = '🜚'.repeat(200)
  const ids = { user_id: id, conversation_id: id, path_id: id, labels: { a: id } }
  const line = { ...ids, cost_usd: '1', occurred_at: '2026-11-01T00:00:00Z' }
  await insertCostLines(database.pool, [
    { ...line, tenant_id: 'long-key' },
    { ...line, tenant_id: 'long-key', labels: { a: id, b: 'z' } },
  ])
  const query = { tenant_id: 'long-key', group_by: 'tenant,user,conversation,path,label.a,label.b', limit: 1 }
  t.equal((await allCosts(query)).groups.length, 2)
})

t.test('a bound key sums only its tenant’s costs', async (t) => {
  await linesAt('mine', ['2026-11-01T00:00:00Z'])
  await linesAt('theirs', ['2026-11-01T00:00:00Z', '2026-11-02T00:00:00Z'])
  const bound = await service.keyFor('viewer', 'mine')
  for (const query of [{}, { tenant_id: 'mine' }, { compare: 'previous' }]) {
    const { status, json } = await get({ group_by: 'tenant', ...query }, bound)
    t.equal(status, 200)
    t.match(json.total, { cost_usd: 1, records: 1 })
    t.match(json.groups, [{ key: { tenant: 'mine' }, cost_usd: 1 }])
  }
  t.match(await get({ tenant_id: 'theirs' }, bound), { status: 403, json: { code: 'forbidden' } })
  t.match(await get({ tenant_id: 'theirs' }, await service.keyFor('viewer')), { json: { total: { cost_usd: 3 } } })
  t.match(await get({}, { authorization: 'Bearer nobody' }), { status: 401 })
})

t.test('an unknown parameter or value is a 400 with its pointer and the allowed values', async (t) => {
  const cursorOf = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const range = { fromMicros: '0', toMicros: '1' }
  const cases: [string, string][] = [
    ['group_by=', 'group_by'],
    ['group_by=,', 'group_by'],
    ['group_by=tenant,', 'group_by'],
    ['group_by=tenant_id', 'group_by'],
    ['group_by=toString', 'group_by'],
    ['group_by=tenant,tenant', 'group_by'],
    ['group_by=day,hour', 'group_by'],
    ['group_by=year', 'group_by'],
    ['group_by=label', 'group_by'],
    ['group_by=label.', 'group_by'],
    ['group_by=label.Feature', 'group_by'],
    [`group_by=${encodeURIComponent(`label.a' or '1`)}`, 'group_by'],
    [`group_by=${encodeURIComponent('tenant; drop table x')}`, 'group_by'],
    [`group_by=${Array.from({ length: 13 }, (_, n) => `label.l${n}`).join()}`, 'group_by'],
    ['group_by=tenant&group_by=model', 'group_by'],
    ['group=tenant', 'group'],
    ['label.Feature=chat', 'label.Feature'],
    ['time_zone=Mars/Olympus', 'time_zone'],
    ['time_zone=', 'time_zone'],
    [`time_zone=${encodeURIComponent(`UTC' or '1`)}`, 'time_zone'],
    ['compare=last_year', 'compare'],
    ['top=0', 'top'],
    ['top=1001', 'top'],
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['from=yesterday', 'from'],
    ['from=2026-11-24T00:00:01Z&to=2026-11-24T00:00:00Z', 'from'],
    ['resource_type=gpu', 'resource_type'],
    ['cursor=nonsense', 'cursor'],
    [`cursor=${cursorOf({ ...range, place: 'a' })}&group_by=user`, 'cursor'],
    [`cursor=${cursorOf({ ...range, place: ['a', 'b'] })}&group_by=user`, 'cursor'],
    [`cursor=${cursorOf({ ...range, place: ['a\0'] })}&group_by=user`, 'cursor'],
    [`cursor=${cursorOf({ ...range, place: [1] })}&group_by=user`, 'cursor'],
    [`cursor=${cursorOf({ ...range, toMicros: `1'`, place: ['a'] })}&group_by=user`, 'cursor'],
    [`cursor=${cursorOf({ ...range, place: ['a'] })}&group_by=user&top=3`, 'cursor'],
    [`cursor=${cursorOf({ ...range, place: [] })}`, 'cursor'],
  ]
  for (const [query, pointer] of cases) {
    const { status, json } = await service.call('GET', `/v1/costs?${query}`)
    t.match(
      { status, code: json.code, pointer: json.errors?.[0]?.pointer },
      { status: 400, code: 'invalid_request', pointer },
      query,
    )
  }
  const { json } = await get({ group_by: 'colour' })
  t.match(
    json.errors[0].message,
    'has "colour"; allowed are tenant, user, conversation, path, provider, model, tier, resource_type, label.<name>, ' +
      'and at most one of hour, day, week, month',
  )
  const farthest = cursorOf({ fromMicros: '-62135596800000000', toMicros: '253402300799000000', place: ['a'] })
  const answer = await get({ cursor: farthest, group_by: 'day', compare: 'previous' })
  t.equal(answer.status, 200, 'a forged cursor is only a position')
})

t.test('every time zone name is accepted or refused as time_zone, never an error of Postgres', async (t) => {
  const answers = new Map<string, number[]>()
  for (const zone of [
    ...Intl.supportedValuesOf('timeZone'),
    'EST',
    'utc',
    'europe/dublin',
    'Etc/GMT+5',
    'SystemV/EST5',
  ]) {
    const { status, json } = await get({ tenant_id: 'nobody', group_by: 'day', time_zone: zone })
    const outcome = status === 400 ? `400 at ${json.errors[0].pointer}` : String(status)
    answers.set(outcome, [...(answers.get(outcome) ?? []), 1])
  }
  t.same(
    [...answers.keys()].filter((outcome) => outcome !== '200' && outcome !== '400 at time_zone'),
    [],
  )
})
