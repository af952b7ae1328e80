import { readFile } from 'node:fs/promises'
import t from 'tap'
import { decimal, usdText } from '../../src/domain/money.ts'
import { createDatabase } from '../helpers/database.ts'

// The prices of the largest providers in November 2026 according to a second source, in USD per million tokens.
// The prices of a new database must agree with all of it.
type Rates = Record<string, number>
type Fact = {
  provider: string
  model: string
  usd_per_mtok: Rates
  long_context?: { input_tokens_over: number; usd_per_mtok: Rates }
  history?: { until: string; usd_per_mtok: Rates }[]
  scheduled?: { from: string; usd_per_mtok: Rates }[]
}
const facts = JSON.parse(await readFile(new URL('../../src/prices/facts-2026-11.json', import.meta.url), 'utf8')) as {
  as_of: string
  models: Fact[]
}
const { pool } = await createDatabase(t)

type Card = {
  usd_per_mtok: Record<string, string>
  long_context: { input_tokens_over: number; usd_per_mtok: Record<string, string> } | null
}

async function cardOf({ provider, model }: Fact, at: string): Promise<Card> {
  const { rows } = await pool.query<Card>(
    'select usd_per_mtok, long_context from copilot_internal.find_model_price($1, $2, $3)',
    [provider, model, at],
  )
  return rows[0] as Card
}

async function costOf({ provider, model }: Fact, usage: Record<string, number>, at = facts.as_of): Promise<string> {
  const { rows } = await pool.query<{ total: string }>(
    `select total_cost_usd::text as total
     from copilot_internal.price_llm_usage(copilot_internal.find_model_price($1, $2, $3), $4)`,
    [provider, model, at, usage],
  )
  return usdText(decimal(rows[0]?.total ?? 'no price'))
}

function texts(rates: Rates): Record<string, string> {
  return Object.fromEntries(Object.entries(rates).map(([bucket, rate]) => [bucket, usdText(decimal(rate))]))
}

function usd(...lines: [tokens: number, usdPerMtok: number | undefined][]): string {
  const sum = lines.reduce((sum, [tokens, rate]) => sum.plus(decimal(tokens).times(decimal(rate ?? NaN))), decimal(0))
  return usdText(sum.times(decimal('0.000001')))
}

for (const fact of facts.models) {
  t.test(`${fact.provider} ${fact.model} is priced as the facts say`, async (t) => {
    const card = await cardOf(fact, facts.as_of)
    // A card may have more buckets than the facts, but no different rates.
    t.match(card.usd_per_mtok, texts(fact.usd_per_mtok))
    t.equal(card.long_context?.input_tokens_over, fact.long_context?.input_tokens_over)
    if (fact.long_context) t.match(card.long_context?.usd_per_mtok, texts(fact.long_context.usd_per_mtok))

    const { input, output, cache_read: read = input } = fact.usd_per_mtok
    const usage = { input_tokens: 9_001, cache_read_tokens: 4_000, output_tokens: 777 }
    t.equal(await costOf(fact, usage), usd([5_001, input], [4_000, read], [777, output]))
    const { input_tokens_over: threshold = 999_999, usd_per_mtok: long = fact.usd_per_mtok } = fact.long_context ?? {}
    t.equal(await costOf(fact, { input_tokens: threshold, output_tokens: 3 }), usd([threshold, input], [3, output]))
    t.equal(
      await costOf(fact, { input_tokens: threshold + 1, output_tokens: 3 }),
      usd([threshold + 1, long['input']], [3, long['output']]),
      'one token above the threshold, if there is one',
    )
  })

  for (const { until, usd_per_mtok } of fact.history ?? []) {
    t.test(`${fact.provider} ${fact.model} had other rates until ${until}`, async (t) => {
      t.match((await cardOf(fact, `${until}T00:00:00Z`)).usd_per_mtok, texts(fact.usd_per_mtok))
      const before = new Date(Date.parse(`${until}T00:00:00Z`) - 1).toISOString()
      t.match((await cardOf(fact, before)).usd_per_mtok, texts({ ...fact.usd_per_mtok, ...usd_per_mtok }))
    })
  }

  for (const { from, usd_per_mtok } of fact.scheduled ?? []) {
    t.test(`${fact.provider} ${fact.model} has other rates from ${from}`, async (t) => {
      t.match((await cardOf(fact, `${from}T00:00:00Z`)).usd_per_mtok, texts(usd_per_mtok))
      const before = new Date(Date.parse(`${from}T00:00:00Z`) - 1).toISOString()
      t.match((await cardOf(fact, before)).usd_per_mtok, texts(fact.usd_per_mtok))
    })
  }
}

t.test('providers with tiers, regions or searches have their factors and fees on the cards', async (t) => {
  const cases: [provider: string, model: string, modifiers: Record<string, string>, fees: Record<string, string>][] = [
    [
      'openai',
      'gpt-6.1-sol',
      { batch: '0.5', flex: '0.5', fast: '2', priority: '2', 'region:eu': '1.1' },
      { web_search: '0.01' },
    ],
    ['openai', 'gpt-4o', { batch: '0.5' }, { web_search: '0.01' }],
    ['anthropic', 'claude-opus-5-5', { batch: '0.5', fast: '2', 'region:us': '1.1' }, { web_search: '0.01' }],
    ['anthropic', 'claude-haiku-5-5', { batch: '0.5', 'region:us': '1.1' }, { web_search: '0.01' }],
    ['groq', 'qwen/qwen3.8-27b', { batch: '0.5', flex: '1' }, {}],
    ['google', 'gemini-3.8-flash', { batch: '0.5', flex: '0.5', priority: '1.8' }, { web_search: '0.014' }],
  ]
  for (const [provider, model, modifiers, fees] of cases) {
    const { rows } = await pool.query(
      'select modifiers, usd_per_unit from copilot_internal.find_model_price($1, $2, $3)',
      [provider, model, facts.as_of],
    )
    t.match(rows[0], { modifiers, usd_per_unit: fees }, model)
  }
})

t.test('an unlisted model does not get the price of a similar model', async (t) => {
  for (const [provider, model] of [
    ['anthropic', 'claude-sonnet-5-7'],
    ['groq', 'openai/gpt-oss-safeguard-200b'],
    ['openai', 'gpt-6'],
  ] as const) {
    const { rows } = await pool.query('select price_id from copilot_internal.find_model_price($1, $2, now())', [
      provider,
      model,
    ])
    t.equal(rows[0]?.price_id, null, model)
  }
})
