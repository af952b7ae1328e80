import fc from 'fast-check'
import type pg from 'pg'
import t from 'tap'
import { costOfE2bRun, type E2bPrice } from '../../src/domain/e2b.ts'
import { decimal, usdText } from '../../src/domain/money.ts'
import { costOfUsage, type ModelPrice } from '../../src/domain/price.ts'
import { USAGE_QUANTITIES, type Usage } from '../../src/domain/usage/index.ts'
import { createDatabase } from '../helpers/database.ts'

const { pool } = await createDatabase(t)
const seed = Number(process.env['PURSER_TEST_SEED'] ?? Date.now() % 2 ** 31)
t.comment(`property tests with seed ${seed}; PURSER_TEST_SEED repeats them`)

/** The first row of a query. Numerics are text. */
async function row<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row> {
  const { rows } = await pool.query<Row>(text, values)
  if (rows[0] === undefined) throw new Error('no row')
  return rows[0]
}

/** A numeric of Postgres as text without trailing zeros. */
function plain(numeric: string | null): string | null {
  return numeric === null ? null : usdText(decimal(numeric))
}

type Counts = { added: number; unchanged: number; superseded: number; held_back: number; aliases_set: number }

function publish(...versions: Record<string, unknown>[]): Promise<Counts> {
  const text = JSON.stringify(versions.map((version) => ({ source: 'test', ...version })))
  return row<Counts>('select * from copilot_internal.publish_model_prices($1)', [text])
}

async function publishE2b(...versions: Record<string, unknown>[]): Promise<Counts> {
  const text = JSON.stringify(versions.map((version) => ({ source: 'test', ...version })))
  return row<Counts>('select * from copilot_internal.publish_e2b_prices($1)', [text])
}

async function history(model: string): Promise<string[]> {
  const { rows } = await pool.query<{ line: string }>(
    `select concat_ws(' ', usd_per_mtok ->> 'input', to_char(effective_date at time zone 'UTC', 'YYYY-MM-DD'),
       coalesce(to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD'), 'open'),
       case when superseded_at is not null then 'superseded' end) as line
     from copilot_internal.model_pricing where model = $1 order by price_id`,
    [model],
  )
  return rows.map(({ line }) => line)
}

async function inputRateAt(model: string, at: string): Promise<string | null> {
  const found = await row<{ rate: string | null }>(
    `select usd_per_mtok ->> 'input' as rate from copilot_internal.find_model_price('p', $1, $2)`,
    [model, at],
  )
  return found.rate
}

// ---- The same decimals on both sides

const rate = fc
  .tuple(fc.integer({ min: 0, max: 99_999 }), fc.integer({ min: 0, max: 12 }))
  .map(([digits, scale]) => usdText(decimal(digits).times(decimal(`0.${'0'.repeat(scale)}1`))))
const rates = fc.record(
  {
    input: rate,
    cache_read: rate,
    cache_read_audio: rate,
    cache_read_image: rate,
    cache_write: rate,
    cache_write_1h: rate,
    cache_write_12h: rate,
    audio_input: rate,
    image_input: rate,
    video_input: rate,
    output: rate,
    reasoning: rate,
    audio_output: rate,
    image_output: rate,
    video_output: rate,
  },
  { requiredKeys: ['input'] },
)
const prices: fc.Arbitrary<ModelPrice> = fc.record({
  priceId: fc.constant('1'),
  provider: fc.constant('p'),
  model: fc.constant('m'),
  effectiveDate: fc.constant('1970-01-01T00:00:00Z'),
  expiresAt: fc.constant(null),
  source: fc.constant('test'),
  usdPerMtok: rates,
  usdPerUnit: fc.record(
    { web_search: rate, request: rate, request_low: rate, request_medium: rate, request_high: rate },
    { requiredKeys: [] },
  ),
  longContext: fc.option(fc.record({ inputTokensOver: fc.nat(5_000), usdPerMtok: rates })),
  modifiers: fc.record(
    { batch: rate, flex: rate, priority: rate, fast: rate, 'region:us': rate, 'region:eu': rate },
    { requiredKeys: [] },
  ),
})
const tier = fc.constantFrom(undefined, 'standard', 'default', 'auto', 'batch', 'flex', 'priority', 'fast')
const region = fc.constantFrom(undefined, 'us', 'eu', 'mars')

/** Parts are chosen first, so that every whole is at least their sum; zero counts are left out at random. */
const requests: fc.Arbitrary<Usage> = fc
  .record(
    {
      plainInput: fc.nat(5_000),
      cache_read_audio_tokens: fc.nat(500),
      cache_read_image_tokens: fc.nat(500),
      plainReads: fc.nat(2_000),
      cache_write_1h_tokens: fc.nat(500),
      cache_write_12h_tokens: fc.nat(500),
      plainWrites: fc.nat(2_000),
      audio_input_tokens: fc.nat(500),
      image_input_tokens: fc.nat(500),
      video_input_tokens: fc.nat(500),
      plainOutput: fc.nat(5_000),
      reasoning_tokens: fc.nat(500),
      audio_output_tokens: fc.nat(500),
      image_output_tokens: fc.nat(500),
      video_output_tokens: fc.nat(500),
      web_searches: fc.nat(5),
      requests: fc.nat(3),
      service_tier: fc.constantFrom('standard', 'batch', 'fast'),
      region: fc.constantFrom('us', 'mars'),
      search_context: fc.constantFrom('low', 'medium', 'high'),
    },
    { requiredKeys: [] },
  )
  .map(({ plainInput = 0, plainReads = 0, plainWrites = 0, plainOutput = 0, ...parts }) => {
    const of = (...names: (keyof typeof parts)[]) =>
      names.reduce((sum, name) => sum + ((parts[name] as number | undefined) ?? 0), 0)
    const reads = plainReads + of('cache_read_audio_tokens', 'cache_read_image_tokens')
    const writes = plainWrites + of('cache_write_1h_tokens', 'cache_write_12h_tokens')
    const input = plainInput + reads + writes + of('audio_input_tokens', 'image_input_tokens', 'video_input_tokens')
    const output =
      plainOutput + of('reasoning_tokens', 'audio_output_tokens', 'image_output_tokens', 'video_output_tokens')
    const usage: Usage = { ...parts }
    if (input > 0) usage.input_tokens = input
    if (output > 0) usage.output_tokens = output
    if (reads > 0) usage.cache_read_tokens = reads
    if (writes > 0) usage.cache_write_tokens = writes
    return usage
  })

/** The usage of one request, or of several with or without their steps. */
const usages: fc.Arbitrary<Usage> = fc
  .tuple(requests, fc.array(requests, { maxLength: 3 }), fc.boolean())
  .map(([first, others, isSplit]) => {
    if (others.length === 0) return first
    const steps = [first, ...others].map(
      ({ web_searches: _searches, requests: _requests, service_tier: _tier, region: _region, ...tokens }) => tokens,
    )
    const usage: Usage = { ...first }
    for (const name of USAGE_QUANTITIES) {
      if (name === 'web_searches' || name === 'requests') continue
      const sum = steps.reduce((total, step) => total + (step[name] ?? 0), 0)
      if (sum > 0) usage[name] = sum
    }
    return isSplit ? { ...usage, steps } : usage
  })

t.test('a model call costs the same decimals in SQL and in TypeScript', async (t) => {
  // Half of the thresholds equal the input of all, of one step or of the mean request, where one token decides.
  const edge = fc.option(fc.record({ of: fc.nat(2), by: fc.integer({ min: -1, max: 1 }) }))
  const property = fc.asyncProperty(
    prices,
    usages,
    tier,
    region,
    edge,
    async (card, usage, serviceTier, region, edge) => {
      const { input_tokens: input = 0, requests = 1, steps = [] } = usage
      const inputs = [input, steps[0]?.input_tokens ?? input, Math.floor(input / Math.max(requests, 1))]
      const inputTokensOver = edge === null ? null : Math.max(0, inputs[edge.of]! + edge.by)
      const price = {
        ...card,
        longContext: card.longContext && {
          ...card.longContext,
          inputTokensOver: inputTokensOver ?? card.longContext.inputTokensOver,
        },
      }
      const here = costOfUsage(price, usage, { serviceTier: serviceTier ?? null, region: region ?? null })
      const there = await row<{ input: string; output: string; total: string }>(
        `select input_cost_usd::text as input, output_cost_usd::text as output, total_cost_usd::text as total
       from copilot_internal.price_llm_usage(jsonb_populate_record(null::copilot_internal.model_pricing, $1), $2, $3, $4)`,
        [
          {
            price_id: 1,
            usd_per_mtok: price.usdPerMtok,
            usd_per_unit: price.usdPerUnit,
            modifiers: price.modifiers,
            long_context: price.longContext && {
              input_tokens_over: price.longContext.inputTokensOver,
              usd_per_mtok: price.longContext.usdPerMtok,
            },
          },
          usage,
          serviceTier ?? null,
          region ?? null,
        ],
      )
      const same =
        plain(there.total) === usdText(here.costUsd) &&
        plain(there.input) === usdText(here.inputCostUsd) &&
        plain(there.output) === usdText(here.outputCostUsd)
      if (!same) throw new Error(`SQL ${JSON.stringify(there)}, TypeScript ${usdText(here.costUsd)}`)
    },
  )
  await fc.assert(property, { seed, numRuns: 1_000 })
  t.pass('1,000 random cards and usages')
})

t.test('a reversal negates the counts of the steps too', async (t) => {
  const usage = {
    input_tokens: 3,
    output_tokens: 0.5,
    service_tier: 'fast',
    steps: [{ input_tokens: 1, output_tokens: 0.5 }, { input_tokens: 2 }, {}],
    others: [],
    texts: ['7'],
  }
  const { negated } = await row<{ negated: object }>('select copilot_internal.negate_usage($1) as negated', [usage])
  t.same(negated, {
    input_tokens: -3,
    output_tokens: -0.5,
    service_tier: 'fast',
    steps: [{ input_tokens: -1, output_tokens: -0.5 }, { input_tokens: -2 }, {}],
    others: [],
    texts: ['7'],
  })
})

t.test('a sandbox run costs the same decimals in SQL and in TypeScript, across versions and gaps', async (t) => {
  const start = Date.UTC(2026, 0, 1)
  const instant = (seconds: number, micros: number) =>
    `${new Date(start + seconds * 1_000).toISOString().slice(0, 19)}.${String(micros).padStart(6, '0')}Z`
  const versions = fc.array(
    fc.record({
      seconds: fc.integer({ min: 1, max: 200 }),
      micros: fc.nat(999_999),
      covered: fc.integer({ min: 0, max: 3 }),
      vcpu: rate,
      gib: rate,
    }),
    { minLength: 1, maxLength: 5 },
  )
  const size = fc.option(
    fc.record({ vcpu: fc.integer({ min: 1, max: 64 }), memoryMib: fc.integer({ min: 1, max: 70_000 }) }),
  )
  const run = fc.record({
    at: fc.nat(900),
    micros: fc.nat(999_999),
    seconds: fc.nat(500),
    fraction: fc.nat(999_999_999),
    edge: fc.option(fc.nat(9)),
  })
  let index = 0
  const property = fc.asyncProperty(versions, size, run, async (versions, size, run) => {
    const tierName = `random-${index++}`
    let at = 0
    const published = versions.map(({ seconds, micros, covered, vcpu, gib }) => {
      const effective_date = instant(at, micros)
      at += seconds
      // One in four versions ends before the next one starts, or has no successor.
      const expires_at = covered === 0 ? instant(at - 1, 999_999) : null
      return {
        tier: tierName,
        vcpu: 2,
        memory_mib: 512,
        usd_per_vcpu_second: vcpu,
        usd_per_gib_second: gib,
        effective_date,
        expires_at,
      }
    })
    await publishE2b(
      ...published.filter((version) => version.expires_at === null || version.expires_at > version.effective_date),
    )
    const { rows } = await pool.query<E2bPrice>(
      `select price_id::text as "priceId", tier, region, vcpu::text as vcpu, memory_mib as "memoryMib",
         usd_per_vcpu_second::text as "usdPerVcpuSecond", usd_per_gib_second::text as "usdPerGibSecond",
         to_char(effective_date at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "effectiveDate",
         to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "expiresAt", source
       from copilot_internal.e2b_pricing where tier = $1`,
      [tierName],
    )
    // Half of the runs start exactly when a version starts or ends.
    const changes = rows
      .flatMap(({ effectiveDate, expiresAt }) => [effectiveDate, expiresAt])
      .filter((at) => at !== null)
    const startedAt = changes[run.edge ?? -1] ?? instant(run.at, run.micros)
    const seconds = run.fraction % 5 === 0 ? '0' : `${run.seconds}.${String(run.fraction).padStart(9, '0')}`
    const here = costOfE2bRun(rows, size, { startedAt, seconds })
    const there = await row<{ total: string | null; price: string | null }>(
      `select total_cost_usd::text as total, price_id::text as price
       from copilot_internal.price_e2b_usage($1, null, $2, $3, $4, $5)`,
      [tierName, size?.vcpu ?? null, size?.memoryMib ?? null, startedAt, seconds],
    )
    const same =
      plain(there.total) === (here.costUsd === null ? null : usdText(here.costUsd)) && there.price === here.priceId
    if (!same) throw new Error(`SQL ${JSON.stringify(there)}, TypeScript ${here.costUsd?.toFixed()} ${here.priceId}`)
  })
  await fc.assert(property, { seed, numRuns: 200 })
  t.pass('200 random histories and runs')
})

t.test('a part larger than its whole is an error in SQL too', async (t) => {
  await publish({ provider: 'p', model: 'parts', effective_date: '1970-01-01Z', usd_per_mtok: { input: 1 } })
  const usages: Usage[] = [
    { input_tokens: 1, cache_read_tokens: 2 },
    { input_tokens: 1, cache_write_1h_tokens: 1 },
    { input_tokens: 1, cache_read_image_tokens: 1 },
    { input_tokens: 1, audio_input_tokens: 2 },
    { input_tokens: 1, video_input_tokens: 2 },
    { output_tokens: 1, video_output_tokens: 2 },
    { reasoning_tokens: 1 },
  ]
  for (const usage of usages) {
    await t.rejects(
      row(`select copilot_internal.price_llm_usage(copilot_internal.find_model_price('p', 'parts', now()), $1)`, [
        usage,
      ]),
      { code: '22023' },
      JSON.stringify(usage),
    )
  }
})

t.test('a card is found by its id, even if superseded, and the cost by an unknown id is null', async (t) => {
  await publish({ provider: 'p', model: 'by-id', effective_date: '1970-01-01Z', usd_per_mtok: { input: 1 } })
  const { id } = await row<{ id: string }>(
    `select price_id as id from copilot_internal.model_pricing where model = 'by-id'`,
  )
  await publish({ provider: 'p', model: 'by-id', effective_date: '1970-01-01Z', usd_per_mtok: { input: 2 } })
  const cost = (priceId: string) =>
    row<{ total: string | null }>(
      'select total_cost_usd::text as total from copilot_internal.price_llm_usage($1::bigint, $2)',
      [priceId, { input_tokens: 1_000_000 }],
    )
  t.equal(plain((await cost(id)).total), '1')
  t.equal((await cost('999999999')).total, null)
})

// ---- Look-up

t.test('a model is found by its whole id or alias, and never by a prefix', async (t) => {
  await publish({
    provider: 'p',
    model: 'model-5',
    aliases: ['model-5-2026-01-01', 'model-latest'],
    effective_date: '1970-01-01Z',
    usd_per_mtok: { input: 5 },
  })
  t.equal(await inputRateAt('model-5', '2026-01-01Z'), '5')
  t.equal(await inputRateAt('model-latest', '2026-01-01Z'), '5')
  for (const name of ['model-5-5', 'model', 'model-5-2026', 'Model-5', 'model-5 ', '']) {
    t.equal(await inputRateAt(name, '2026-01-01Z'), null, name)
  }
})

t.test('the look-up finds the version in force: it includes its start and excludes its end', async (t) => {
  await publish(
    { provider: 'p', model: 'dated', effective_date: '2026-01-01Z', usd_per_mtok: { input: 1 } },
    { provider: 'p', model: 'dated', effective_date: '2027-01-01Z', usd_per_mtok: { input: 2 } },
    {
      provider: 'p',
      model: 'dated',
      effective_date: '2026-06-01Z',
      expires_at: '2026-07-01Z',
      usd_per_mtok: { input: 3 },
    },
  )
  t.equal(await inputRateAt('dated', '2025-12-31T23:59:59.999999Z'), null)
  t.equal(await inputRateAt('dated', '2026-01-01T00:00:00Z'), '1')
  t.equal(await inputRateAt('dated', '2026-05-31T23:59:59.999999Z'), '1')
  t.equal(await inputRateAt('dated', '2026-06-01T00:00:00Z'), '3')
  t.equal(await inputRateAt('dated', '2026-07-01T00:00:00Z'), null, 'there is no price between two versions')
  t.equal(await inputRateAt('dated', '2027-01-01T00:00:00Z'), '2')
})

// ---- Publishing

t.test('publishing the same price again changes nothing, even if its decimals are written differently', async (t) => {
  const version = (input: unknown) => ({
    provider: 'p',
    model: 'same',
    effective_date: '2026-01-01T00:00:00Z',
    usd_per_mtok: { input, output: '10' },
    usd_per_unit: { web_search: 0.01 },
    long_context: { input_tokens_over: 200_000, usd_per_mtok: { input } },
    modifiers: { batch: '0.50' },
    aliases: ['same-latest'],
  })
  t.match(await publish(version('0.50')), { added: 1, unchanged: 0, superseded: 0, held_back: 0, aliases_set: 1 })
  t.match(await publish(version(0.5), version('0.500')), {
    added: 0,
    unchanged: 2,
    superseded: 0,
    held_back: 0,
    aliases_set: 0,
  })
  t.same(await history('same'), ['0.5 2026-01-01 open'])
})

t.test('a version with a new date ends its predecessor, and ends when its successor starts', async (t) => {
  const version = (date: string, input: number) => ({
    provider: 'p',
    model: 'chain',
    effective_date: `${date}Z`,
    usd_per_mtok: { input },
  })
  await publish(version('2026-01-01', 1), version('2026-12-01', 3))
  t.match(await publish(version('2026-06-01', 2)), { added: 1 })
  t.same(await history('chain'), ['1 2026-01-01 2026-06-01', '3 2026-12-01 open', '2 2026-06-01 2026-12-01'])
})

t.test('a version of the same date with other rates supersedes the old one, which is kept', async (t) => {
  const version = (input: number, source = 'seed') => ({
    provider: 'p',
    model: 'twice',
    source,
    effective_date: '2026-01-01Z',
    usd_per_mtok: { input },
  })
  await publish(version(1), { ...version(9), effective_date: '2026-09-01Z' })
  t.match(await publish(version(2)), { added: 0, superseded: 1 })
  t.same(await history('twice'), ['1 2026-01-01 2026-09-01 superseded', '9 2026-09-01 open', '2 2026-01-01 2026-09-01'])
})

t.test("only an administrator supersedes an administrator's version", async (t) => {
  const version = (input: number, source: string) => ({
    provider: 'p',
    model: 'admins',
    source,
    effective_date: '2026-01-01Z',
    usd_per_mtok: { input },
  })
  await publish(version(1, 'seed'))
  t.match(await publish(version(2, 'admin')), { superseded: 1, held_back: 0 })
  t.match(await publish(version(1, 'seed')), { superseded: 0, held_back: 1 })
  t.match(await publish(version(3, 'admin')), { superseded: 1 })
  t.equal(await inputRateAt('admins', '2026-02-01Z'), '3')
})

t.test('two simultaneous publications give the same result as one after the other', async (t) => {
  const versions = Array.from({ length: 20 }, (_, index) => ({
    provider: 'p',
    model: 'raced',
    effective_date: `2026-01-${String(index + 1).padStart(2, '0')}Z`,
    usd_per_mtok: { input: index + 1 },
  }))
  const all = await Promise.all([publish(...versions), publish(...versions.toReversed()), publish(...versions)])
  t.equal(
    all.reduce((sum, { added }) => sum + added, 0),
    20,
  )
  t.equal((await history('raced')).length, 20)
})

t.test('sandbox prices follow the same rules of publication', async (t) => {
  const version = (vcpu: string, date: string, source = 'seed') => ({
    tier: 'published',
    vcpu: 2,
    memory_mib: 512,
    usd_per_vcpu_second: vcpu,
    usd_per_gib_second: '0.0000045',
    effective_date: `${date}Z`,
    source,
  })
  t.match(await publishE2b(version('0.000014', '2026-01-01'), version('0.000020', '2026-12-01')), { added: 2 })
  t.match(await publishE2b(version('0.0000140', '2026-01-01')), { unchanged: 1 })
  t.match(await publishE2b(version('0.000015', '2026-01-01', 'admin')), { superseded: 1 })
  t.match(await publishE2b(version('0.000014', '2026-01-01')), { held_back: 1 })
  const { rows } = await pool.query(
    `select usd_per_vcpu_second::text as rate, price_per_second::text as per_second, superseded_at is not null as gone
     from copilot_internal.e2b_pricing where tier = 'published' order by price_id`,
  )
  t.same(
    rows.map(({ rate, per_second, gone }) => [rate, plain(per_second), gone]),
    [
      ['0.000014', '0.00003025', true],
      ['0.00002', '0.00004225', false],
      ['0.000015', '0.00003225', false],
    ],
  )
})

t.test('an invalid card is refused', async (t) => {
  const card = { provider: 'p', model: 'unsound', effective_date: '1970-01-01Z', usd_per_mtok: { input: 1 } }
  const refused: Record<string, unknown>[] = [
    { usd_per_mtok: { output: 1 } },
    { usd_per_mtok: { input: -1 } },
    { usd_per_mtok: { input: 1e9 } },
    { usd_per_mtok: { input: 1, outptu: 2 } },
    { usd_per_unit: { coffee: 1 } },
    { modifiers: { gold: 2 } },
    { modifiers: { 'region:': 2 } },
    { long_context: { usd_per_mtok: { input: 1 } } },
    { long_context: { input_tokens_over: -1, usd_per_mtok: { input: 1 } } },
    { long_context: { input_tokens_over: '5', usd_per_mtok: { input: 1 } } },
    { model: '' },
    { source: '' },
    { expires_at: '1970-01-01Z' },
  ]
  for (const change of refused)
    await t.rejects(publish({ ...card, ...change }), { code: '23514' }, JSON.stringify(change))
  await t.rejects(publish({ ...card, usd_per_mtok: { input: 'cheap' } }), { code: '22P02' })
  await t.rejects(row('select copilot_internal.publish_model_prices($1)', ['{}']), { code: '22023' })
})

t.test('the database refuses to edit or delete a version, or to make two overlap', async (t) => {
  await publish({ provider: 'p', model: 'kept', effective_date: '2026-01-01Z', usd_per_mtok: { input: 1 } })
  const edits = [
    `update copilot_internal.model_pricing set usd_per_mtok = '{"input":"0"}' where model = 'kept'`,
    `update copilot_internal.model_pricing set effective_date = '2025-01-01Z' where model = 'kept'`,
    `delete from copilot_internal.model_pricing where model = 'kept'`,
    `update copilot_internal.e2b_pricing set usd_per_vcpu_second = 0`,
    `delete from copilot_internal.e2b_pricing`,
  ]
  for (const edit of edits) await t.rejects(pool.query(edit), { code: '23001' }, edit)
  const second = `insert into copilot_internal.model_pricing (provider, model, usd_per_mtok, effective_date, source)
    values ('p', 'kept', '{"input":"2"}', '2026-03-01Z', 'by hand')`
  await t.rejects(pool.query(second), { code: '23P01' })
})

t.test('price ids of models and sandboxes come from one sequence', async (t) => {
  const { shared } = await row<{ shared: string }>(
    `select count(*) as shared from copilot_internal.model_pricing join copilot_internal.e2b_pricing using (price_id)`,
  )
  t.equal(shared, '0')
})

// ---- The functions that callers of the first system use

t.test('calculate_llm_cost with four arguments uses the current plain rates, and never guesses', async (t) => {
  const cost = (provider: string, model: string, input: number, output: number) =>
    row('select * from copilot_internal.calculate_llm_cost($1, $2, $3, $4)', [provider, model, input, output])
  t.match(await cost('openai', 'gpt-6.1-sol', 12_000, 2_000), {
    input_cost_usd: '0.024000000000',
    output_cost_usd: '0.020000000000',
    total_cost_usd: '0.044000000000',
    pricing_found: true,
  })
  t.same(await cost('openai', 'gpt-6.1', 12_000, 2_000), {
    input_cost_usd: null,
    output_cost_usd: null,
    total_cost_usd: null,
    pricing_found: false,
  })
})

t.test('calculate_llm_cost with buckets takes cache, searches, tier, region and date', async (t) => {
  const { total_cost_usd } = await row<{ total_cost_usd: string }>(
    `select total_cost_usd from copilot_internal.calculate_llm_cost(
       'anthropic', 'claude-opus-5-5', 12362, 640, 4096, 1000, p_cache_write_1h_tokens => 200, p_web_searches => 2)`,
  )
  t.equal(plain(total_cost_usd), '0.0682832')
  const batch = await row<{ total_cost_usd: string }>(
    `select total_cost_usd from copilot_internal.calculate_llm_cost(
       'anthropic', 'claude-sonnet-5-5', 1000000, 0, 1000000, p_service_tier => 'batch', p_region => 'us',
       p_pricing_date => '2026-10-06T23:59:59Z')`,
  )
  t.equal(plain(batch.total_cost_usd), '0.11', 'at that date cache reads still cost 0.20')
})

t.test('calculate_e2b_cost bills the allocated size by the second; a tier without a price costs null', async (t) => {
  const cost = (tier: string, region: string, seconds: number, cpu: number | null) =>
    row('select * from copilot_internal.calculate_e2b_cost($1, $2, $3, $4)', [tier, region, seconds, cpu])
  const expected = {
    execution_cost_usd: '0.108900000000',
    resource_cost_usd: '0',
    total_cost_usd: '0.108900000000',
    is_estimated: false,
  }
  t.same(await cost('standard', 'us-east-1', 3_600, null), expected)
  t.same(await cost('standard', 'us-east-1', 3_600, 12), expected, 'the used CPU does not change the cost')
  for (const [tier, region] of [
    ['gpu', 'us-east-1'],
    ['standard', 'mars'],
  ] as const) {
    const unknown = { execution_cost_usd: null, resource_cost_usd: null, total_cost_usd: null, is_estimated: true }
    t.same(await cost(tier, region, 3_600, null), unknown, `${tier} ${region}`)
  }
})

t.test('a size without a tier is priced at the rates of tier standard', async (t) => {
  const { total } = await row<{ total: string }>(
    `select total_cost_usd as total from copilot_internal.price_e2b_usage(null, null, 2, 2048, '2026-11-24Z', 412.6)`,
  )
  t.equal(plain(total), '0.0152662')
})

t.test('get_current_model_pricing returns the plain rates, their start and their source', async (t) => {
  const { rows } = await pool.query(`select * from copilot_internal.get_current_model_pricing('openai', 'gpt-6.1-sol')`)
  t.match(rows, [
    { input_price_per_million: '2', output_price_per_million: '10', effective_date: new Date(0), notes: /^overlay/ },
  ])
  t.equal((await pool.query(`select from copilot_internal.get_current_model_pricing('openai', 'gpt-6')`)).rowCount, 0)
})

t.test('the current price follows clock_now()', async (t) => {
  const client = await pool.connect()
  try {
    const input = async (now: string) => {
      await client.query(`select set_config('purser.fake_now', $1, false)`, [now])
      const { rows } = await client.query(
        `select input_price_per_million as input from copilot_internal.get_current_model_pricing('google', 'gemini-4-argon')`,
      )
      return rows[0]?.input
    }
    t.equal(await input('2026-11-30T23:59:59Z'), '2')
    t.equal(await input('2026-12-01T00:00:00Z'), '4')
  } finally {
    client.release(true)
  }
})
