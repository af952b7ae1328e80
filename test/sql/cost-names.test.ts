import fc from 'fast-check'
import t from 'tap'
import { insertCostLines, type CostLine } from '../helpers/money/cost-lines.ts'
import { createDatabase } from '../helpers/database.ts'
import { printedSeed } from '../helpers/seed.ts'

const { pool } = await createDatabase(t)
const seed = printedSeed(t)

const orNull = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { freq: 3 })
const aLine: fc.Arbitrary<CostLine> = fc
  .record({
    resource_type: fc.constantFrom('llm' as const, 'e2b' as const),
    tenant_id: fc.constantFrom('a', 'b', `c'"\\`),
    user_id: orNull(fc.constantFrom('u', 'v')),
    conversation_id: orNull(fc.constantFrom('c', 'd')),
    path_id: orNull(fc.constantFrom('p', 'q')),
    provider: fc.constantFrom('openai', 'groq'),
    model: fc.constantFrom('m', 'n'),
    tier: orNull(fc.constantFrom('standard', 'gpu')),
    input_tokens: fc.nat().map(String),
    output_tokens: orNull(fc.nat().map(String)),
    seconds: orNull(fc.nat(10_000).map((tenths) => String(tenths / 10))),
    cost_usd: fc.integer({ min: -99, max: 999_999 }).map((micros) => (micros / 1e6).toFixed(12)),
    occurred_at: fc
      .integer({ min: Date.UTC(2026, 8, 28), max: Date.UTC(2026, 10, 3) })
      .map((ms) => new Date(ms).toISOString()),
    recorded_at: fc.constant('2026-11-03T00:00:00Z'),
  })
  .map((line) => ({ ...line, ...(line.resource_type === 'llm' ? { tier: null } : { provider: null, model: null }) }))

const lines = fc.sample(aLine, { seed, numRuns: 400 })
await insertCostLines(pool, lines)
// Half of the records are rolled up, the others are not yet.
await pool.query('select copilot_internal.roll_up_tail(200, 0)')

const day = `(occurred_at at time zone 'UTC')::date`
const E2B = `count(*), coalesce(sum(execution_time_seconds), 0), sum(total_cost_usd) from copilot_internal.e2b_cost_records`
const LLM = `count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(total_tokens), 0),
  sum(total_cost_usd) from copilot_internal.llm_cost_records`
const KEYS = {
  tenant: 'tenant_id',
  user: 'tenant_id, user_id',
  conversation: 'tenant_id, conversation_id',
  path: 'tenant_id, path_id',
}
const VIEWS = [
  ...Object.entries({ ...KEYS, tier: 'tier' }).map(([name, keys]) => [`e2b_cost_summary_by_${name}`, keys, E2B]),
  ...Object.entries({ ...KEYS, model: 'provider, model' }).map(([name, keys]) => [
    `cost_summary_by_${name}`,
    keys,
    LLM,
  ]),
] as [string, string, string][]

/** Rows as text, sorted, so that the query's order does not matter; amounts without trailing zeros. */
async function rowsOf(query: string, values: unknown[] = []): Promise<string[]> {
  const { rows } = await pool.query<unknown[]>({ text: query, values, rowMode: 'array' })
  const plain = (value: unknown) =>
    typeof value === 'string' && /^-?[0-9]+\.[0-9]+$/.test(value) ? value.replace(/\.?0+$/, '') : value
  return rows.map((row) => JSON.stringify(row.map(plain))).toSorted()
}

for (const [view, keys, sums] of VIEWS) {
  t.test(`${view} and ${view}_daily equal the records`, async (t) => {
    const once = await rowsOf(`select * from copilot_internal.${view}`)
    t.same(once, await rowsOf(`select ${keys}, ${sums} group by ${keys}`))
    t.ok(once.length > 1)
    t.same(
      await rowsOf(`select * from copilot_internal.${view}_daily`),
      await rowsOf(`select ${keys}, ${day}, ${sums} group by ${keys}, ${day}`),
    )
  })
}

t.test('combined_cost_summary_by_tenant and _daily equal the records of both', async (t) => {
  const both = `(select tenant_id, occurred_at, total_cost_usd as llm, null::numeric as e2b from copilot_internal.llm_cost_records
    union all select tenant_id, occurred_at, null, total_cost_usd from copilot_internal.e2b_cost_records) r`
  const sums = `count(llm), count(e2b), coalesce(sum(llm), 0), coalesce(sum(e2b), 0), sum(coalesce(llm, e2b)) from ${both}`
  t.same(
    await rowsOf('select * from copilot_internal.combined_cost_summary_by_tenant'),
    await rowsOf(`select tenant_id, ${sums} group by tenant_id`),
  )
  t.same(
    await rowsOf('select * from copilot_internal.combined_cost_summary_by_tenant_daily'),
    await rowsOf(`select tenant_id, ${day}, ${sums} group by tenant_id, ${day}`),
  )
})

t.test('get_llm_cost_by_tenant and get_llm_cost_by_model equal the records of any span', async (t) => {
  const aMoment = fc
    .integer({ min: Date.UTC(2026, 8, 27), max: Date.UTC(2026, 10, 4) })
    .map((ms) => new Date(ms).toISOString())
  await fc.assert(
    fc.asyncProperty(fc.tuple(aMoment, aMoment), fc.constantFrom('a', 'b', 'nobody'), async (moments, tenant) => {
      const [from, to] = moments.toSorted()
      const within = `from copilot_internal.llm_cost_records where occurred_at >= $1 and occurred_at < $2`
      t.same(
        await rowsOf('select * from copilot_internal.get_llm_cost_by_model($1, $2)', [from, to]),
        await rowsOf(
          `select provider, model, count(distinct tenant_id), count(*), sum(total_tokens), sum(total_cost_usd) ${within} group by provider, model`,
          [from, to],
        ),
      )
      t.same(
        await rowsOf('select * from copilot_internal.get_llm_cost_by_tenant($3, $1, $2)', [from, to, tenant]),
        await rowsOf(
          `select provider, model, count(*), sum(total_tokens), sum(total_cost_usd) ${within} and tenant_id = $3 group by provider, model`,
          [from, to, tenant],
        ),
      )
    }),
    { seed, numRuns: 30 },
  )
})

t.test('a span without a start or an end contains the costs of all records', async (t) => {
  const all = await rowsOf('select * from copilot_internal.get_llm_cost_by_model($1, $2)', [
    '2000-01-01Z',
    '2030-01-01Z',
  ])
  t.ok(all.length > 1)
  t.same(await rowsOf('select * from copilot_internal.get_llm_cost_by_model($1, $2)', ['-infinity', 'infinity']), all)
  t.same(await rowsOf('select * from copilot_internal.get_llm_cost_by_model($1, $2)', ['infinity', '-infinity']), [])
  t.same(
    await rowsOf('select * from copilot_internal.get_llm_cost_by_tenant($1, $2, $3)', ['a', '-infinity', 'infinity']),
    await rowsOf('select * from copilot_internal.get_llm_cost_by_tenant($1, $2, $3)', [
      'a',
      '2000-01-01Z',
      '2030-01-01Z',
    ]),
  )
})
