import fc from 'fast-check'
import t from 'tap'
import { estimateLlm } from '../../src/domain/estimate.ts'
import { decimal, usdText } from '../../src/domain/money.ts'
import { costOfUsage } from '../../src/domain/price.ts'
import { card, opus, sol } from './cards.ts'

function total(...args: Parameters<typeof estimateLlm>): string {
  return usdText(estimateLlm(...args).totalUsd)
}

t.test('input is estimated at the highest rate that can apply, output at its own rate', async (t) => {
  t.equal(total(sol, { inputTokens: 12_000, maxOutputTokens: 2_000 }), '0.05', 'cache writes at 2.5')
  t.equal(total(opus, { inputTokens: 1_000, maxOutputTokens: 0 }), '0.008', 'one-hour cache writes at 8')
  const noWrites = card({ usdPerMtok: { input: '3', output: '5', cache_write: '1' } })
  t.equal(
    total(noWrites, { inputTokens: 1_000_000, maxOutputTokens: 0 }),
    '3',
    'cache writes may be cheaper than input',
  )
})

t.test('a long input is estimated at the long-context rates, strictly above the threshold', async (t) => {
  t.equal(total(sol, { inputTokens: 272_000, maxOutputTokens: 100 }), '0.681')
  t.equal(total(sol, { inputTokens: 272_001, maxOutputTokens: 100 }), '1.361505')
  t.equal(estimateLlm(sol, { inputTokens: 272_001, maxOutputTokens: 1 }).longContext, true)
})

t.test('the estimate includes web searches and one request, without tier and region factors', async (t) => {
  const price = card({
    usdPerMtok: { input: '1', output: '2' },
    usdPerUnit: { web_search: '0.01', request: '0.012' },
    modifiers: { batch: '0.5', 'region:us': '1.1' },
  })
  const request = { inputTokens: 1_000_000, maxOutputTokens: 1_000_000, maxWebSearches: 2 }
  t.equal(total(price, request), '3.032')
  t.equal(total(price, { ...request, serviceTier: 'batch', region: 'us' }), '1.682')
  const bySize = (usdPerUnit: object) => total({ ...price, usdPerUnit }, { inputTokens: 0, maxOutputTokens: 0 })
  t.equal(bySize({ request: '0.008', request_low: '0.005', request_high: '0.012' }), '0.012', 'the highest fee')
  t.equal(bySize({ request: '0.014', request_medium: '0.009' }), '0.014')
  t.equal(bySize({ request_low: '0.005' }), '0.005')
})

t.test('an estimate covers the cost of any usage within its tokens', async (t) => {
  const estimate = estimateLlm(opus, { inputTokens: 5_000, maxOutputTokens: 300, maxWebSearches: 1 })
  const usages = [
    { input_tokens: 5_000, output_tokens: 300, web_searches: 1 },
    { input_tokens: 5_000, cache_write_tokens: 5_000, output_tokens: 300, web_searches: 1 },
    {
      input_tokens: 5_000,
      cache_write_tokens: 5_000,
      cache_write_1h_tokens: 5_000,
      output_tokens: 300,
      web_searches: 1,
    },
    { input_tokens: 5_000, cache_read_tokens: 5_000, output_tokens: 300, reasoning_tokens: 300 },
  ]
  for (const usage of usages) t.ok(costOfUsage(opus, usage).costUsd.lte(estimate.totalUsd), JSON.stringify(usage))
  t.equal(usdText(estimate.fixedUsd.plus(estimate.usdPerOutputToken.times(300))), usdText(estimate.totalUsd))
})

t.test('no text request costs more than its estimate, on any card', async (t) => {
  const rate = fc.integer({ min: 0, max: 99_999 }).map((digits) => usdText(decimal(digits).times(decimal('0.001'))))
  const rates = fc.record(
    {
      input: rate,
      cache_read: rate,
      cache_write: rate,
      cache_write_1h: rate,
      cache_write_12h: rate,
      output: rate,
      reasoning: rate,
    },
    { requiredKeys: ['input'] },
  )
  const cards = fc.record({ usdPerMtok: rates, long: fc.option(rates), inputTokensOver: fc.nat(2_000) })
  const parts = fc.record({
    plain: fc.nat(500),
    read: fc.nat(500),
    written: fc.nat(500),
    for1h: fc.nat(500),
    for12h: fc.nat(500),
    output: fc.nat(500),
    reasoning: fc.nat(500),
  })
  const property = fc.property(cards, parts, ({ usdPerMtok, long, inputTokensOver }, of) => {
    const price = card({ usdPerMtok, longContext: long && { inputTokensOver, usdPerMtok: long } })
    const usage = {
      input_tokens: of.plain + of.read + of.written + of.for1h + of.for12h,
      cache_read_tokens: of.read,
      cache_write_tokens: of.written + of.for1h + of.for12h,
      cache_write_1h_tokens: of.for1h,
      cache_write_12h_tokens: of.for12h,
      output_tokens: of.output + of.reasoning,
      reasoning_tokens: of.reasoning,
    }
    const estimate = estimateLlm(price, { inputTokens: usage.input_tokens, maxOutputTokens: usage.output_tokens })
    return costOfUsage(price, usage).costUsd.lte(estimate.totalUsd)
  })
  fc.assert(property, { numRuns: 2_000 })
  t.pass('2,000 random cards and usages')
})
