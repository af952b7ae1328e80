import { readFile } from 'node:fs/promises'
import { Kysely, PostgresDialect } from 'kysely'
import t from 'tap'
import { layOver, type Overlay } from '../../src/prices/overlay.ts'
import type { PriceVersion } from '../../src/prices/package.ts'
import { seedPrices } from '../../src/prices/seed.ts'
import { createDatabase } from '../helpers/database.ts'

const { pool } = await createDatabase(t)
// The pool belongs to the test's database, which closes it.
const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })

const forget = () => pool.query('delete from copilot_internal.price_seed')

t.test('a second start does not publish the same edition again', async (t) => {
  const outcome = await seedPrices(db)
  t.equal(outcome.published, false)
  t.match(outcome.seedKey, /^genai-prices \d+\.\d+\.\d+, overlay [0-9a-f]{16}, reader \d+$/)
})

t.test('publishing the same prices again changes nothing', async (t) => {
  await forget()
  const { published, models, e2b } = await seedPrices(db)
  t.equal(published, true)
  t.match(models, { added: 0, superseded: 0, heldBack: 0, aliasesSet: 0 })
  t.match(e2b, { added: 0, unchanged: 8, superseded: 0, heldBack: 0 })
  t.ok((models?.unchanged ?? 0) > 1_600)
})

t.test("a seed does not replace an administrator's version of the same date", async (t) => {
  const version = {
    provider: 'openai',
    model: 'gpt-6.1-sol',
    effective_date: '1970-01-01Z',
    source: 'admin',
    usd_per_mtok: { input: 1 },
  }
  await pool.query('select copilot_internal.publish_model_prices($1)', [JSON.stringify([version])])
  await forget()
  t.match((await seedPrices(db)).models, { superseded: 0, heldBack: 1 })
})

t.test('two services that start at the same time publish the prices once', async (t) => {
  await forget()
  const outcomes = await Promise.all([seedPrices(db), seedPrices(db)])
  for (const { models } of outcomes) t.match(models ?? { added: 0 }, { added: 0 })
  t.equal((await pool.query('select from copilot_internal.price_seed')).rowCount, 1)
})

t.test('every preset has a price per second', async (t) => {
  const { rows } = await pool.query<{ line: string }>(
    `select concat_ws(' ', tier, region, vcpu, memory_mib, trim_scale(price_per_second)) as line
     from copilot_internal.e2b_pricing where superseded_at is null order by price_id`,
  )
  t.same(
    rows.map(({ line }) => line),
    [
      'nano us-east-1 1 512 0.00001625',
      'default us-east-1 2 512 0.00003025',
      'small us-east-1 1 1024 0.0000185',
      'medium us-east-1 2 2048 0.000037',
      'large us-east-1 4 4096 0.000074',
      'xlarge us-east-1 8 4096 0.00013',
      'xxlarge us-east-1 8 8192 0.000148',
      'standard us-east-1 2 512 0.00003025',
    ],
  )
})

t.test('the overlay names only models with a price, and its dates are in order', async (t) => {
  const overlay = JSON.parse(
    await readFile(new URL('../../src/prices/overlay.json', import.meta.url), 'utf8'),
  ) as Overlay
  for (const { model, versions } of overlay.models) {
    const dates = versions.map(({ effective_date }) => effective_date)
    t.same(dates, dates.toSorted(), model)
  }
  for (const { provider, alias, model } of overlay.aliases) {
    const { rows } = await pool.query<{ model: string }>(
      'select model from copilot_internal.find_model_price($1, $2, now())',
      [provider, alias],
    )
    t.equal(rows[0]?.model, model, alias)
  }
})

// ---- How the overlay changes the prices of the package

const base: PriceVersion = {
  provider: 'p',
  model: 'm',
  effective_date: '1970-01-01T00:00:00Z',
  source: 'package',
  usd_per_mtok: { input: '1' },
  usd_per_unit: {},
  long_context: null,
  modifiers: {},
  aliases: ['m-old'],
}
const empty: Overlay = {
  edition: '2026-11-10',
  models: [],
  mirrors: [],
  aliases: [],
  names: [],
  terms: [],
  e2b: { why: '', region: 'us-east-1', effective_date: '', usd_per_vcpu_second: '0', usd_per_gib_second: '0' },
}

t.test('the overlay replaces the package from its first date on; earlier versions stay', async (t) => {
  const later = { ...base, effective_date: '2026-09-01T00:00:00Z', usd_per_mtok: { input: '2' } }
  const model = { provider: 'p', model: 'm', why: 'a test' }
  const versions = [{ effective_date: '2026-08-01T00:00:00Z', usd_per_mtok: { input: '3' } }]
  t.same(
    layOver([base, later], { ...empty, models: [{ ...model, versions }] }).map((card) => [
      card.effective_date,
      card.usd_per_mtok.input,
      card.source,
    ]),
    [
      ['1970-01-01T00:00:00Z', '1', 'package'],
      ['2026-08-01T00:00:00Z', '3', 'overlay 2026-11-10'],
    ],
  )
})

t.test('terms fill in only the fields that a card lacks', async (t) => {
  const terms = [
    {
      provider: 'p',
      models: '^m',
      why: 'a test',
      usd_per_unit: { web_search: '0.01' },
      modifiers: { batch: '0.5', fast: '2' },
    },
  ]
  const own = { ...base, usd_per_unit: { web_search: '0.02' }, modifiers: { fast: '3' } }
  const other = { ...base, model: 'another', provider: 'q', aliases: [] }
  const [card, untouched] = layOver([own, other], { ...empty, terms })
  t.match(card, {
    usd_per_unit: { web_search: '0.02' },
    modifiers: { batch: '0.5', fast: '3' },
    source: 'package + overlay 2026-11-10',
  })
  t.same(untouched, other)
})

t.test('terms may give a rate as a multiple of the input rate, plain and long-context', async (t) => {
  const terms = [{ provider: 'p', models: '.', why: 'a test', times_input: { cache_write_1h: '2', cache_read: '0.1' } }]
  const usd_per_mtok = { input: '3.3', cache_read: '0.2' }
  const long = { input_tokens_over: 200_000, usd_per_mtok: { input: '6.6' } }
  const silent = { input_tokens_over: 200_000, usd_per_mtok: { output: '9' } }
  const rates = (card: PriceVersion) => {
    const [{ usd_per_mtok, long_context } = base] = layOver([card], { ...empty, terms })
    return [usd_per_mtok, long_context?.usd_per_mtok]
  }
  t.same(rates({ ...base, usd_per_mtok, long_context: long }), [
    { input: '3.3', cache_read: '0.2', cache_write_1h: '6.6' },
    { input: '6.6', cache_read: '0.66', cache_write_1h: '13.2' },
  ])
  t.same(rates({ ...base, usd_per_mtok, long_context: silent })[1], { output: '9' })
  t.same(rates({ ...base, usd_per_mtok })[1], undefined)
})

t.test('an alias of the overlay replaces others, and one without a model stops the seed', async (t) => {
  const second = { ...base, model: 'm-2', aliases: [] }
  const aliases = [{ provider: 'p', alias: 'm-old', model: 'm-2' }]
  t.same(
    layOver([base, second], { ...empty, aliases }).map((card) => card.aliases),
    [[], ['m-old']],
  )
  t.throws(() => layOver([base], { ...empty, aliases }), /an alias of a model without a price: p m-2/)
})

t.test(
  'a mirror copies a card with its versions and aliases to a provider that lacks it, and never replaces a card',
  async (t) => {
    const long_context = { input_tokens_over: 9, usd_per_mtok: { input: '2' } }
    const later = { ...base, effective_date: '2026-09-01T00:00:00Z', usd_per_mtok: { input: '0.7' }, long_context }
    const others = [
      { ...base, model: 'm-kept', usd_per_unit: { web_search: '7' }, modifiers: { batch: '0.1' } },
      { ...base, provider: 'q', model: 'm-kept', usd_per_mtok: { input: '5' }, aliases: ['m-old'] },
      { ...base, model: 'm-named', aliases: [] },
    ]
    const mirrors = [
      { provider: 'q', of: 'p', models: '^m(-kept)?$', why: 'a test' },
      { provider: 'r', of: 'p', models: '^(m)$', as: 'near.$1', times: '1.1', why: 'a test' },
    ]
    const aliases = [{ provider: 'p', alias: 'm-new', model: 'm' }]
    const terms = [{ provider: 'q', models: '.', why: 'a test', modifiers: { batch: '0.5' } }]
    const { aliases: _aliases, ...second } = later
    const cards = layOver([base, second, ...others], { ...empty, mirrors, aliases, terms })
    const shown = (provider: string) =>
      cards
        .filter((card) => card.provider === provider)
        .map((card) => [
          card.model,
          card.effective_date.slice(0, 4),
          card.usd_per_mtok.input,
          card.aliases,
          card.source,
        ])
    t.same(shown('q'), [
      ['m-kept', '1970', '5', ['m-old'], 'package + overlay 2026-11-10'],
      ['m', '1970', '1', ['m-new'], 'package + overlay 2026-11-10'],
      ['m', '2026', '0.7', undefined, 'package + overlay 2026-11-10'],
    ])
    t.match(
      cards.findLast(({ provider }) => provider === 'q')?.modifiers,
      { batch: '0.5' },
      'the terms of the other provider apply',
    )
    t.same(shown('r'), [
      ['near.m', '1970', '1.1', [], 'package + overlay 2026-11-10'],
      ['near.m', '2026', '0.77', undefined, 'package + overlay 2026-11-10'],
    ])
    t.same(cards.at(-1)?.long_context?.usd_per_mtok, { input: '2.2' })
  },
)

t.test(
  'a rule of names makes aliases, but not for the name of a model, and explicit aliases take precedence',
  async (t) => {
    const models = ['in.a-1', 'in.b-1', 'in.c-1', 'c-1', 'other'].map((model) => ({ ...base, model, aliases: [] }))
    const names = [
      { provider: 'p', models: '^in\\.(.+)$', why: 'a test', aliases: ['$1', 'us.$1'] },
      { provider: 'p', models: '^in\\.(.)-1$', why: 'a test', aliases: ['$1', 'us.b-1'] },
      { provider: 'q', models: '.', why: 'a test', aliases: ['nobody'] },
    ]
    const aliases = [{ provider: 'p', alias: 'us.a-1', model: 'other' }]
    t.same(
      layOver(models, { ...empty, names, aliases }).map(({ model, aliases: theirs }) => [model, theirs?.join(' ')]),
      [
        ['in.a-1', 'a-1 a'],
        ['in.b-1', 'b-1 us.b-1 b'],
        ['in.c-1', 'us.c-1 c'],
        ['c-1', ''],
        ['other', 'us.a-1'],
      ],
    )
  },
)
