import t, { type Test } from 'tap'
import { uuidv7 } from 'uuidv7'
import { publishE2bPrices, publishModelPrices } from '../../src/db/prices/price-versions.ts'
import { setEnvironmentDefaults } from '../../src/db/quotas/quota-defaults.ts'
import type { RecordItem } from '../../src/db/costs/record-spend.ts'
import { usdText } from '../../src/domain/money.ts'
import { rerate, type RerateRequest, type RerateTotals } from '../../src/services/costs/rerate.ts'
import { balancesOf } from '../helpers/money/books.ts'
import { runCli } from '../helpers/servers/cli.ts'
import { insertCostLines } from '../helpers/money/cost-lines.ts'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { booking, hold, openSession, spending } from '../helpers/money/spend.ts'

// In the past, because a command uses the real clock and must run later.
const NOW = '2020-11-20T12:00:00Z'

const database = await createDatabase(t)
const { pool } = database
const session = openSession(t, database.url)
const { db } = session
await session.moveTo(NOW)
await setEnvironmentDefaults(db, [{ scope: 'tenant', resource_type: 'llm', period: 'day', limit_usd: '50' }])

const actor = { principal: 'a test', ip: null }

type Found = Record<string, unknown>

/** Re-rates November. Amounts are kept as written. */
async function run(request: Partial<RerateRequest> = {}): Promise<{ lines: Found[]; totals: Found }> {
  const lines: Found[] = []
  const totals = await rerate(
    { db, actor },
    { from: '2020-11-01T00:00:00Z', to: '2020-12-01T00:00:00Z', model: null, apply: false, ...request },
    { line: (line) => lines.push(asWritten(line)), progress: () => {} },
  )
  return { lines, totals: textOf(totals) }
}

const textOf = ({ difference_usd: difference, ...counts }: RerateTotals): Found => ({
  ...counts,
  difference_usd: usdText(difference),
})

const asWritten = (value: object) =>
  JSON.parse(JSON.stringify(value), (_key, one, { source }) => (typeof one === 'number' ? source : one)) as Found

/** Publishes a version of the card of `model`, in USD per million tokens. */
const publish = (model: string, effective_date: string, input: string, output: string, more: object = {}) =>
  publishModelPrices(db, [
    { provider: 'acme', model, effective_date, source: 'test', usd_per_mtok: { input, output }, ...more },
  ])

/** Records one cost and returns its id. */
async function recorded(tenantId: string, changes: Partial<RecordItem>): Promise<string> {
  const { cost_usd: _, ...item } = spending(tenantId, '0', changes)
  const recording = await session.record(item)
  if (!('records' in recording)) throw new Error(JSON.stringify(recording))
  return recording.records[0]!.cost_record_id
}

const call = (model: string, occurredAt: string, usage: object = { input_tokens: 1_000, output_tokens: 1_000 }) =>
  ({ measure: 'tokens', provider: 'acme', model, usage, occurred_at: occurredAt }) as Partial<RecordItem>

/** The sum and the number of a tenant's records. */
async function booksOf(tenantId: string): Promise<{ lines: number; usd: string }> {
  const { rows } = await pool.query<{ lines: number; usd: string }>(
    `select count(*)::integer as lines, trim_scale(sum(total_cost_usd))::text as usd from (
       select tenant_id, total_cost_usd from copilot_internal.llm_cost_records
       union all select tenant_id, total_cost_usd from copilot_internal.e2b_cost_records) l where tenant_id = $1`,
    [tenantId],
  )
  return rows[0]!
}

/** A test that checks every invariant at its end. */
const guarantee = (name: string, check: (t: Test) => Promise<void>) =>
  t.test(name, async (t) => {
    await check(t)
    await assertHealthy(t, pool)
  })

guarantee('a price version that is published late corrects the records of its time once', async (t) => {
  await publish('late', '2020-11-01T00:00:00Z', '2', '10')
  await session.moveTo('2020-11-05T00:00:00Z')
  const before = await recorded('late', call('late', '2020-11-04T23:59:59.999999Z'))
  await session.moveTo(NOW)
  const id = await recorded('late', call('late', '2020-11-05T00:00:00Z'))
  t.same(await run({ model: 'late' }), {
    lines: [],
    totals: {
      looked: 2,
      changes: 0,
      corrected: 0,
      overtaken: 0,
      unpriced: 0,
      undecided: 0,
      unreadable: 0,
      difference_usd: '0',
    },
  })

  await publish('late', '2020-11-05T00:00:00Z', '3', '15')
  // 1,000 at 3 and 1,000 at 15 a million: 0.018 instead of 0.012.
  const found = await run({ model: 'late' })
  t.match(found.lines, [
    {
      cost_record_id: id,
      tenant_id: 'late',
      provider: 'acme',
      model: 'late',
      occurred_at: '2020-11-05T00:00:00Z',
      cost_usd: '0.012',
      new_cost_usd: '0.018',
      difference_usd: '0.006',
      estimated: false,
      successor_id: null,
    },
  ])
  t.equal(found.lines.length, 1, `without ${before}, which is from before the version`)
  t.match(found.totals, { changes: 1, corrected: 0, difference_usd: '0.006' })
  t.same(await booksOf('late'), { lines: 2, usd: '0.024' }, 'a run without `apply` books nothing')
  t.match((await run({ model: 'late', to: '2020-11-05T00:00:00Z' })).totals, { changes: 0 }, '`to` is exclusive')
  t.match((await run({ model: 'late', from: '2020-11-05T00:00:00.000001Z' })).totals, { changes: 0 })
  t.match((await run({ model: 'later' })).totals, { changes: 0 }, 'another model has no changes')

  const applied = await run({ model: 'late', apply: true })
  t.match(applied.totals, { changes: 1, corrected: 1, difference_usd: '0.006' })
  t.match(applied.lines, [{ cost_record_id: id, successor_id: String, new_cost_usd: '0.018' }])
  t.same(await booksOf('late'), { lines: 4, usd: '0.03' })
  t.same(await balancesOf(pool, 'late'), ['tenant day 2020-11-05T00 0.018', 'tenant day 2020-11-20T00 0'])
  t.match(
    (await run({ model: 'late', apply: true })).totals,
    { changes: 0, corrected: 0 },
    'a second run finds nothing',
  )
  t.same(await booksOf('late'), { lines: 4, usd: '0.03' })
  const { rows } = await pool.query('select reason from copilot_internal.record_corrections where corrects = $1', [id])
  t.match(rows, [{ reason: /^re-rated by price \d+$/ }])

  await publish('late', '2020-11-05T00:00:00Z', '1', '5')
  t.match(
    (await run({ model: 'late', apply: true })).totals,
    { corrected: 1, difference_usd: '-0.012' },
    'the corrected record can be re-rated again',
  )
  t.same(await booksOf('late'), { lines: 6, usd: '0.018' })
})

guarantee('buckets, service tiers and long contexts are re-rated exactly, to the 12th decimal', async (t) => {
  const card = {
    modifiers: { batch: '0.5', 'region:us': '1.1' },
    long_context: { input_tokens_over: 272_000, usd_per_mtok: { input: '4', output: '15' } },
  }
  await publish('exact', '2020-11-01T00:00:00Z', '0.1', '0.2', card)
  // At first: 3 at 0.1, 1 at 0.2; batch in the region us: 0.5 × 1.1 × 0.0000005 = 0.000000275.
  await recorded('exact', {
    ...call('exact', '2020-11-10T00:00:00Z', { input_tokens: 3, output_tokens: 1, service_tier: 'standard' }),
    service_tier: 'batch',
    region: 'us',
  })
  await recorded('exact', call('exact', '2020-11-10T00:00:01Z', { input_tokens: 272_000, output_tokens: 0 }))
  await recorded('exact', call('exact', '2020-11-10T00:00:02Z', { input_tokens: 272_001, output_tokens: 0 }))
  await publish('exact', '2020-11-01T00:00:00Z', '0.300000000003', '0.2', card)
  const { lines, totals } = await run({ model: 'exact' })
  t.same(
    lines.map((line) => [line['cost_usd'], line['new_cost_usd'], line['difference_usd']]),
    [
      // 0.55 × (3 × 0.300000000003 + 0.2) a million = 0.00000060500000000495, half up: 0.000000605.
      ['0.000000275', '0.000000605', '0.00000033'],
      // 272,000 × 0.300000000003 a million = 0.081600000000816, half up at the 12th decimal.
      ['0.0272', '0.081600000001', '0.054400000001'],
    ],
    'the request with a long context keeps its cost, because the long-context rates did not change',
  )
  t.equal(totals['difference_usd'], '0.054400330001')
  t.match((await run({ model: 'exact', apply: true })).totals, { corrected: 2, difference_usd: '0.054400330001' })
  t.match((await run({ model: 'exact' })).totals, { changes: 0, undecided: 0 })
})

guarantee('a commit without a price is re-rated once there is one, even if the amount is the same', async (t) => {
  const holds = ['4', '0.0070', '1'].map((usd) => hold('unpriced', usd))
  await session.reserve(...holds)
  const tokens = { measure: 'tokens', provider: 'acme', model: 'unpriced' } as const
  const usage = { input_tokens: 1_000, output_tokens: 1_000 }
  const { outcome } = (
    await session.commit(
      ...holds.slice(0, 2).map(({ reservation_id: id }) => {
        const { cost_usd: _, ...item } = booking(id, '0', { ...tokens, usage })
        return item
      }),
      booking(holds[2]!.reservation_id, 'own', { measure: 'cost', cost_usd: '1' }),
    )
  )[0]!
  t.match(outcome, { committed: { estimated: true, cost_usd: /^4(\.0*)?$/ } })
  t.match((await run({ model: 'unpriced' })).totals, { changes: 0, unpriced: 2 })

  await publish('unpriced', '1970-01-01T00:00:00Z', '2', '5')
  const { lines, totals } = await run({ model: 'unpriced', apply: true })
  t.same(lines.map((line) => [line['cost_usd'], line['new_cost_usd'], line['estimated']].join(' ')).sort(), [
    '0.007 0.007 true',
    '4 0.007 true',
  ])
  t.match(totals, { corrected: 2, unpriced: 0, difference_usd: '-3.993' })
  t.same(await booksOf('unpriced'), { lines: 7, usd: '1.014' })
  t.match((await run({ model: 'unpriced', apply: true })).totals, { changes: 0 })
  const { rows } = await pool.query(
    `select count(*)::integer as estimated from copilot_internal.llm_cost_records l where tenant_id = 'unpriced' and estimated
       and total_cost_usd > 0 and not exists (select from copilot_internal.record_corrections k where k.corrects = l.cost_record_id)`,
  )
  t.same(rows, [{ estimated: 0 }])
})

guarantee('when several unreadable usages become readable, each cost record gets its own cost', async (t) => {
  await publish('several', '1970-01-01T00:00:00Z', '2', '10')
  const expected = new Map<string, string>()
  for (const tokens of [3_000, 1_000, 4_000, 2_000]) {
    const item = hold('several', '3', { provider: 'acme', model: 'several' })
    await session.reserve(item)
    const { cost_usd: _, ...booked } = booking(item.reservation_id, 'reserved', { measure: 'reserved' })
    const provider_usage = { prompt_tokens: tokens, total_tokens: tokens }
    await session.commit({ ...booked, unreadable_usage: { reasons: [], provider_usage } })
    expected.set(booked.cost_record_id, String((tokens * 2) / 1e6))
  }
  const { lines } = await run({ from: '2020-11-20T00:00:00Z', model: 'several', apply: true })
  t.same(new Map(lines.map((line) => [line.cost_record_id, line.new_cost_usd])), expected)
})

guarantee('an unreadable usage stays an estimate until it can be read, and is then booked once', async (t) => {
  await publish('unread', '1970-01-01T00:00:00Z', '2', '10', { modifiers: { batch: '0.5' } })
  const commit = async (usd: string, providerUsage: Record<string, unknown> | null, changes: object = {}) => {
    const item = hold('unread', usd, { provider: 'acme', model: 'unread', service_tier: 'batch', ...changes })
    await session.reserve(item)
    const { cost_usd: _, ...booked } = booking(item.reservation_id, 'reserved', { measure: 'reserved' })
    const reasons = [{ pointer: '', message: 'of a test' }]
    await session.commit({ ...booked, unreadable_usage: { reasons, provider_usage: providerUsage } })
    return booked.cost_record_id
  }
  const read = { prompt_tokens: 1_000, completion_tokens: 500, total_tokens: 1_500 }
  const id = await commit('3', read)
  await commit('0.5', { nothing: { that: 'is known' } })
  await commit('0.25', null)
  await commit('1', read, { model: 'unread-unpriced' })
  const wide = { from: '2020-11-20T00:00:00Z' }

  // 1,000 x 2 and 500 x 10 a million, half for batch: 0.0035 instead of 3.
  const found = await run({ ...wide, model: 'unread' })
  t.match(found.lines, [
    {
      cost_record_id: id,
      cost_usd: '3',
      new_cost_usd: '0.0035',
      difference_usd: '-2.9965',
      estimated: true,
      estimate_reason: 'usage_unreadable',
      successor_id: null,
    },
  ])
  t.equal(found.lines.length, 1)
  t.match(found.totals, { changes: 1, corrected: 0, unreadable: 2, unpriced: 0 })
  t.same(await booksOf('unread'), { lines: 4, usd: '4.75' }, 'a run without `apply` books nothing')
  t.match((await run({ ...wide, model: 'unread-unpriced' })).totals, { changes: 0, unpriced: 1, unreadable: 0 })
  t.match((await run({ ...wide, from: '2020-11-21T00:00:00Z' })).totals, { unreadable: 0 })

  const applied = await run({ ...wide, apply: true })
  t.match(applied.totals, { corrected: 1, unreadable: 2, unpriced: 1, difference_usd: '-2.9965' })
  t.same(await booksOf('unread'), { lines: 6, usd: '1.7535' })
  const { rows } = await pool.query(
    `select k.reason, l.usage, l.estimated, l.unreadable_usage from copilot_internal.record_corrections k
     join copilot_internal.llm_cost_records l on l.cost_record_id = k.successor_id where k.corrects = $1`,
    [id],
  )
  t.match(rows, [
    {
      reason: /^its usage is readable now, re-rated by price \d+$/,
      usage: { input_tokens: 1_000, output_tokens: 500 },
      estimated: false,
      unreadable_usage: null,
    },
  ])
  t.match((await run({ ...wide, apply: true })).totals, { changes: 0, unreadable: 2 }, 'a second run books nothing')
  await publish('unread', '1970-01-01T00:00:00Z', '4', '10', { modifiers: { batch: '0.5' } })
  t.match(
    (await run({ ...wide, model: 'unread', apply: true })).totals,
    { corrected: 1, difference_usd: '0.001' },
    'the corrected record is re-rated like any other',
  )
})

guarantee(
  'sandbox runs are re-rated by tier and region, and split where a version that was published late begins',
  async (t) => {
    const region = 'test-1'
    const rates = (effective_date: string, vcpu: string, gib: string, of = region) =>
      ['standard', 'medium'].map((tier) => ({
        tier,
        region: of,
        usd_per_vcpu_second: vcpu,
        usd_per_gib_second: gib,
        effective_date,
        source: 'test',
        ...(tier === 'medium' ? { vcpu: '2', memory_mib: 2_048 } : { vcpu: '2', memory_mib: 512 }),
      }))
    const first = [
      ...rates('2020-01-01T00:00:00Z', '0.000014', '0.0000045'),
      ...rates('2020-01-01T00:00:00Z', '0.00002', '0.000005', 'test-2'),
    ]
    await publishE2bPrices(db, first)
    const ran = (tier: string, of: string, occurredAt: string) =>
      recorded('runs', {
        resource_type: 'e2b',
        measure: 'seconds',
        seconds: '100',
        tier,
        region: of,
        occurred_at: occurredAt,
      })
    await ran('standard', region, '2020-11-10T00:00:00Z')
    await ran('medium', region, '2020-11-10T00:00:00Z')
    await ran('medium', 'test-2', '2020-11-10T00:00:00Z')
    await ran('standard', region, '2020-11-09T23:58:20Z')

    await publishE2bPrices(db, rates('2020-11-10T00:00:40Z', '0.00002', '0.00001'))
    const { lines, totals } = await run()
    t.same(
      lines.map((line) => [line['tier'], line['cost_usd'], line['new_cost_usd']].join(' ')).sort(),
      [
        // 100 × (2 × 0.000014 + 2 × 0.0000045); then 40 of it, and 60 × (2 × 0.00002 + 2 × 0.00001).
        'medium 0.0037 0.00508',
        // 100 × (2 × 0.000014 + 0.5 × 0.0000045); then 40 of it, and 60 × (2 × 0.00002 + 0.5 × 0.00001).
        'standard 0.003025 0.00391',
      ],
      'neither the other region nor the run that ended before the version is re-rated',
    )
    t.equal(totals['difference_usd'], '0.002265')
    t.match((await run({ apply: true })).totals, { corrected: 2, difference_usd: '0.002265' })
    t.match((await run({ apply: true })).totals, { changes: 0 })
    t.match((await run({ model: 'medium' })).totals, { changes: 0 }, 'a sandbox run has no model')
  },
)

guarantee('a cost that a person set, and the charge of a lapse, are never re-rated', async (t) => {
  await publish('set', '2020-11-01T00:00:00Z', '2', '10')
  const id = await recorded('set', call('set', '2020-11-10T00:00:00Z'))
  await session.correct(id, '0.5')
  const lapsing = hold('set', '3', { on_expiry: 'charge', provider: 'acme', model: 'set' })
  await session.reserve(lapsing)
  await session.moveTo('2020-11-20T13:00:00Z')
  await pool.query(
    `set purser.fake_now = '2020-11-20T13:00:00Z'; select copilot_internal.expire_reservations(10); reset purser.fake_now`,
  )
  await publish('set', '2020-11-01T00:00:00Z', '3', '15')
  t.match((await run({ model: 'set', apply: true })).totals, { changes: 0, corrected: 0, unpriced: 0 })
  t.same(await booksOf('set'), { lines: 4, usd: '3.5' })
  await session.moveTo(NOW)
})

guarantee('a run that failed can be started again, and corrects each cost record once', async (t) => {
  await publish('broken', '2020-11-01T00:00:00Z', '2', '10')
  await recorded('broken', call('broken', '2020-11-10T00:00:00Z'))
  const { rows } = await pool.query(`select price_id from copilot_internal.llm_cost_records where tenant_id = 'broken'`)
  // There are also more than two pages of other cost records, and twenty that the version below changes.
  const many = Array.from({ length: 2_200 }, (_, index) => ({
    tenant_id: 'many',
    provider: 'acme',
    model: index % 110 === 0 ? 'broken' : 'whole',
    usage: '{"input_tokens": 1000, "output_tokens": 1000}',
    cost_usd: '0.012',
    price_id: index % 110 === 0 ? (rows[0] as { price_id: number }).price_id : null,
    occurred_at: '2020-11-10T00:00:00Z',
  }))
  await insertCostLines(pool, many)
  await publish('broken', '2020-11-01T00:00:00Z', '3', '15')

  let answered = 0
  const broken = rerate(
    { db, actor },
    { from: '2020-11-01T00:00:00Z', to: '2020-12-01T00:00:00Z', model: 'broken', apply: true },
    {
      line: () => {
        answered += 1
        if (answered === 13) throw new Error('the process died')
      },
      progress: () => {},
    },
  )
  await t.rejects(broken, { message: 'the process died' })
  const { totals, lines } = await run({ model: 'broken', apply: true })
  t.match(
    totals,
    { changes: 8, corrected: 8, overtaken: 0, difference_usd: '0.048' },
    '13 of the 21 were booked already',
  )
  t.equal(new Set(lines.map((line) => line['cost_record_id'])).size, 8)
  t.match((await run({ model: 'broken', apply: true })).totals, { changes: 0 })
  // 2,180 others at 0.012 and 20 at 0.018.
  t.same(await booksOf('many'), { lines: 2_200 + 40, usd: '26.52' })
  t.same(await booksOf('broken'), { lines: 3, usd: '0.018' })
})

guarantee('two simultaneous runs correct each cost record once', async (t) => {
  await publish('race', '2020-11-01T00:00:00Z', '2', '10')
  const id = await recorded('race', call('race', '2020-11-10T00:00:00Z'))
  await publish('race', '2020-11-01T00:00:00Z', '3', '15')
  const other = openSession(t, database.url)
  await other.moveTo(NOW)
  const request = { from: '2020-11-01T00:00:00Z', to: '2020-12-01T00:00:00Z', model: 'race', apply: true }
  const totals: RerateTotals[] = []
  // The second run books while the first one holds the page that it has read.
  await rerate(
    {
      actor,
      db: db.withPlugin({
        transformQuery: ({ node }) => node,
        transformResult: async ({ result }) => {
          if (totals.length === 0 && JSON.stringify(result.rows).includes(id)) {
            totals.push(await rerate({ db: other.db, actor }, request, { line: () => {}, progress: () => {} }))
          }
          return result
        },
      }),
    },
    request,
    { line: () => {}, progress: () => {} },
  ).then((own) => totals.push(own))
  t.match(totals.map(textOf), [
    { changes: 1, corrected: 1, overtaken: 0, difference_usd: '0.006' },
    { changes: 0, corrected: 0, overtaken: 1, difference_usd: '0' },
  ])
  t.same(await booksOf('race'), { lines: 3, usd: '0.018' })
})
t.test('a cost record from before 0020 whose reservation is deleted is not re-rated', async (t) => {
  await publish('gone', '2020-11-01T00:00:00Z', '2', '10')
  await insertCostLines(pool, [
    {
      tenant_id: 'gone',
      reservation_id: uuidv7(),
      provider: 'acme',
      model: 'gone',
      usage: '{"input_tokens": 1000, "output_tokens": 1000}',
      cost_usd: '0.012',
      occurred_at: '2020-11-06T00:00:00Z',
    },
  ])
  await publish('gone', '2020-11-05T00:00:00Z', '3', '15')
  t.same((await run({ model: 'gone' })).lines, [])
  await pool.query(`update copilot_internal.llm_cost_records l
    set price_id = (select min(m.price_id) from copilot_internal.model_pricing m where m.model = 'gone')
    where l.tenant_id = 'gone'`)
  t.match(await run({ model: 'gone' }), { lines: [], totals: { changes: 0, undecided: 1 } })
})

t.test('the command lists changes, books them with --apply, and explains wrong arguments', async (t) => {
  await publish('typed', '2020-11-01T00:00:00Z', '2', '10')
  const id = await recorded('typed', call('typed', '2020-11-10T00:00:00Z'))
  await publish('typed', '2020-11-01T00:00:00Z', '3', '0.100000000001')
  const november = ['rerate', '--from', '2020-11-01', '--to', '2020-12-01T00:00:00Z', '--model', 'typed']
  const listed = await runCli('prices', database.url, november)
  t.equal(listed.code, 0, listed.stderr)
  // 1,000 × 3 and 1,000 × 0.100000000001 a million: 0.003100000000001, half up 0.0031.
  t.match(listed.stdout, `2020-11-10T00:00:00Z ${id} typed acme typed: 0.012 -> 0.0031\n`)
  t.match(
    listed.stdout,
    '1 would have another cost, -0.0089 USD in total; 0 corrected.\nNothing was booked. Use --apply to book the corrections.',
  )

  const unread = hold('typed', '1', { provider: 'acme', model: 'typed-unread' })
  const objectless = hold('typed', '1', { provider: 'acme', model: 'typed-unread' })
  await session.moveTo('2020-11-30T00:00:00Z')
  await session.reserve(unread, objectless)
  for (const [{ reservation_id: held }, usage] of [
    [unread, { prompt_tokens: 1_000, completion_tokens: 0 }],
    [objectless, null],
  ] as const) {
    const { cost_usd: _, ...item } = booking(held, 'reserved', { measure: 'reserved' })
    await session.commit({ ...item, unreadable_usage: { reasons: [], provider_usage: usage } })
  }
  await publish('typed-unread', '1970-01-01T00:00:00Z', '3', '1')
  const ofUnread = [...november.slice(0, -1), 'typed-unread']
  const unreadListed = (await runCli('prices', database.url, ofUnread)).stdout
  t.match(unreadListed, 'typed acme typed-unread: 1 -> 0.003 (was not read)\n')
  t.match(unreadListed, '1 remain estimates: their usage is still unreadable.\n')
  t.match(JSON.parse((await runCli('prices', database.url, [...ofUnread, '--json'])).stdout), {
    data: [{ estimate_reason: 'usage_unreadable', new_cost_usd: 0.003 }],
    totals: { changes: 1, unreadable: 1 },
  })

  const applied = await runCli('prices', database.url, [...november, '--apply', '--json'])
  t.equal(applied.code, 0, applied.stderr)
  t.match(JSON.parse(applied.stdout), {
    data: [{ cost_record_id: id, cost_usd: 0.012, new_cost_usd: 0.0031, successor_id: String }],
    totals: { applied: true, changes: 1, corrected: 1, difference_usd: -0.0089 },
  })
  const again = await runCli('prices', database.url, [...november, '--apply', '--json'])
  t.equal(again.code, 0, again.stderr)
  t.match(JSON.parse(again.stdout), { data: [], totals: { changes: 0, corrected: 0 } })

  const wrong = [
    [['rerate'], 'rerate needs --from and --to'],
    [['rerate', '--from', '2020-11-01', '--to', '2020-11-01'], '--from must be before --to'],
    [['rerate', '--from', 'yesterday', '--to', '2020-11-01'], '--from must be a UTC day'],
    [['rerate', '--from', '2020-11-01', '--to', '2020-12-01', '--feed', 'x'], '--feed goes with sync and diff'],
    [['sync', '--apply'], '--apply goes with rerate'],
  ] as const
  const outcomes = await Promise.all(wrong.map(([args]) => runCli('prices', database.url, [...args])))
  for (const [index, [args, message]] of wrong.entries())
    t.match(outcomes[index], { code: 2, stderr: `${message}` }, args.join(' '))
  t.match((await runCli('prices', database.url, ['--help'])).stdout, '--apply')
})
