import { readFile } from 'node:fs/promises'
import t from 'tap'
import { PACKAGE_PROVIDERS, readPackage, versionsOf, type PackagePrice } from '../../src/prices/package.ts'

const { versions, skipped } = versionsOf(await readPackage(), 'the package')

function read(model: { id?: string; match?: unknown; prices: unknown }) {
  const provider = {
    id: 'p',
    models: [{ id: 'm', match: { equals: 'm' }, ...model, prices: model.prices as PackagePrice }],
  }
  return versionsOf([provider], 'test')
}

t.test('every provider of the package is read', async (t) => {
  const text = await readFile(new URL(import.meta.resolve('@pydantic/genai-prices')), 'utf8')
  const named = [...text.matchAll(/^ {4}id: "([^"]+)",$/gm)].map(([, id]) => id)
  t.same(new Set(named), new Set(PACKAGE_PROVIDERS), 'a new release of the package may have other providers')
  t.same(new Set(versions.map(({ provider }) => provider)), new Set(PACKAGE_PROVIDERS))
  t.ok(versions.length > 1_500)
})

t.test('few models are skipped, each with a reason', async (t) => {
  t.ok(skipped.length < 50, String(skipped.length))
  for (const { reason } of skipped) t.match(reason, /^(has no prices|is priced by \w+|has no input rate)$/)
})

t.test('no long-context threshold is one token too low', async (t) => {
  t.notOk(versions.some(({ long_context }) => long_context?.input_tokens_over === 271_999))
  t.ok(versions.some(({ long_context }) => long_context?.input_tokens_over === 272_000))
})

t.test('only names that a rule lists in full become aliases', async (t) => {
  const match = {
    or: [
      { equals: 'm' },
      { equals: 'm-2026-01-01' },
      { starts_with: 'm-' },
      { regex: '^m' },
      { or: [{ equals: 'm-latest' }] },
    ],
  }
  t.same(read({ match, prices: { input_mtok: 1 } }).versions[0]?.aliases, ['m-2026-01-01', 'm-latest'])
  t.same(read({ match: { starts_with: 'm' }, prices: { input_mtok: 1 } }).versions[0]?.aliases, [])
  const names = versions.flatMap(({ provider, aliases = [] }) => aliases.map((alias) => `${provider} ${alias}`))
  t.equal(new Set(names).size, names.length, 'no alias means two models')
  const own = new Set(versions.map(({ provider, model }) => `${provider} ${model}`))
  t.same(
    names.filter((name) => own.has(name)),
    [],
    'no alias is the name of a model',
  )
})

t.test('rates keep their decimals, tiers become long-context rates', async (t) => {
  const prices = {
    input_mtok: { base: 0.1, tiers: [{ start: 200_000, price: 0.30000000000000004 }] },
    cache_read_mtok: 1e-7,
    output_mtok: 3,
    web_searches_kcount: 10,
    requests_kcount: 12.5,
    storage_searches_kcount: 2.5,
  }
  t.match(read({ prices }).versions[0], {
    provider: 'p',
    model: 'm',
    effective_date: '1970-01-01T00:00:00Z',
    source: 'test',
    usd_per_mtok: { input: '0.1', cache_read: '0.0000001', output: '3' },
    usd_per_unit: { web_search: '0.01', request: '0.0125' },
    long_context: { input_tokens_over: 200_000, usd_per_mtok: { input: '0.30000000000000004' } },
    modifiers: {},
  })
})

t.test(
  'start dates become versions; of prices by time of day the highest applies, from the last start date on',
  async (t) => {
    const prices = [
      { prices: { input_mtok: 1, output_mtok: 1 } },
      { constraint: { type: 'start_date', start_date: '2026-08-17' }, prices: { input_mtok: 2, output_mtok: 2 } },
      { constraint: { type: 'time_of_date' }, prices: { input_mtok: 4, output_mtok: 4 } },
      { constraint: { type: 'time_of_date' }, prices: { input_mtok: 1.5, output_mtok: 1.5 } },
    ]
    t.same(
      read({ prices }).versions.map((version) => [version.effective_date, version.usd_per_mtok.input]),
      [
        ['1970-01-01T00:00:00Z', '1'],
        ['2026-08-17T00:00:00Z', '4'],
      ],
    )
  },
)

t.test('a model that would be free by omission is not published', async (t) => {
  const reasonOf = (model: Parameters<typeof read>[0]) => read(model).skipped[0]?.reason
  t.equal(reasonOf({ prices: {} }), 'has no prices')
  t.equal(reasonOf({ prices: { audio_hours: 1 } }), 'is priced by audio_hours')
  t.equal(reasonOf({ prices: { input_mtok: 1, a_new_mtok: 9 } }), 'is priced by a_new_mtok')
  t.equal(reasonOf({ prices: { output_mtok: 1 } }), 'has no input rate')
  const twoTiers = {
    base: 1,
    tiers: [
      { start: 1, price: 2 },
      { start: 2, price: 3 },
    ],
  }
  t.equal(reasonOf({ prices: { input_mtok: twoTiers } }), 'has several long-context thresholds')
  t.same(read({ id: 'm:free', match: { equals: 'm:free' }, prices: {} }).versions[0]?.usd_per_mtok, {
    input: '0',
    output: '0',
  })
})
