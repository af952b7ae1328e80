import t from 'tap'
import { usdText } from '../../src/domain/money.ts'
import { costOfUsage, isUnsplit, type Asked, type ModelPrice } from '../../src/domain/price.ts'
import { UsageError, type Usage } from '../../src/domain/usage/index.ts'
import { card, opus, sol } from './cards.ts'

function cost(price: ModelPrice, usage: Usage, asked?: Asked): string {
  return usdText(costOfUsage(price, usage, asked).costUsd)
}

t.test('each token is priced once, in its own bucket', async (t) => {
  // 12362 - 4096 = 8266 x 2 + 4096 x 0.1 + 640 x 10 = 16532 + 409.6 + 6400
  t.equal(cost(sol, { input_tokens: 12_362, cache_read_tokens: 4_096, output_tokens: 640 }), '0.0233416')
  // 12362 - 4096 - 1000 = 7266 x 4 + 4096 x 0.2 + 800 x 5 + 200 x 8 + 640 x 20, and 2 searches
  const usage = {
    input_tokens: 12_362,
    cache_read_tokens: 4_096,
    cache_write_tokens: 1_000,
    cache_write_1h_tokens: 200,
    output_tokens: 640,
    web_searches: 2,
  }
  t.equal(cost(opus, usage), '0.0682832')
  t.equal(cost(sol, {}), '0')
})

t.test('a breakdown lists the exact items of the total', async (t) => {
  const { breakdown } = costOfUsage(opus, {
    input_tokens: 1_000,
    cache_read_tokens: 400,
    output_tokens: 7,
    web_searches: 1,
  })
  t.same(
    breakdown.map((line) => [line.bucket, line.quantity, usdText(line.usdPerUnit), usdText(line.costUsd)]),
    [
      ['input', 600, '0.000004', '0.0024'],
      ['cache_read', 400, '0.0000002', '0.00008'],
      ['output', 7, '0.00002', '0.00014'],
      ['web_search', 1, '0.01', '0.01'],
    ],
  )
})

t.test('a request has long-context rates strictly above the threshold, not at it', async (t) => {
  t.equal(cost(sol, { input_tokens: 272_000, output_tokens: 1_000 }), '0.554')
  t.equal(cost(sol, { input_tokens: 272_001, output_tokens: 1_000 }), '1.103004')
  const mostlyCached = costOfUsage(sol, { input_tokens: 300_000, cache_read_tokens: 299_000, output_tokens: 0 })
  t.equal(mostlyCached.longContext, true, 'cached tokens count towards the threshold')
  t.equal(usdText(mostlyCached.costUsd), '0.0638')
  t.equal(costOfUsage(sol, { input_tokens: 272_000 }).longContext, false)
})

t.test('long-context rates replace plain ones; a bucket without one keeps its plain rate', async (t) => {
  const price = card({
    usdPerMtok: { input: '1', output: '5', cache_write: '1.25', cache_write_12h: '2.5' },
    longContext: { inputTokensOver: 10, usdPerMtok: { input: '2', cache_write: '3' } },
  })
  t.equal(cost(price, { input_tokens: 1_000_000, output_tokens: 1_000_000 }), '7')
  t.equal(
    cost(price, { input_tokens: 1_000_000, cache_write_tokens: 1_000_000, cache_write_12h_tokens: 1_000_000 }),
    '2.5',
  )
  t.equal(
    cost(price, { input_tokens: 1_000_000, cache_write_tokens: 1_000_000, cache_write_1h_tokens: 1_000_000 }),
    '3',
  )
})

t.test('each of several summed requests is priced by its own input', async (t) => {
  const steps = [
    { input_tokens: 272_000, cache_read_tokens: 200_000, output_tokens: 1_000 },
    { input_tokens: 272_001, cache_read_tokens: 272_000, output_tokens: 2_000, reasoning_tokens: 500 },
    { input_tokens: 1, output_tokens: 3_000 },
  ]
  const usage: Usage = {
    input_tokens: 544_002,
    cache_read_tokens: 472_000,
    output_tokens: 6_000,
    reasoning_tokens: 500,
    steps,
    web_searches: 1,
    service_tier: 'fast',
  }
  const { costUsd, outputCostUsd, longContext, breakdown } = costOfUsage(sol, usage)
  // Plain: 72,001 x 2 + 200,000 x 0.1 + 4,000 x 10 = 144,002 + 20,000 + 40,000. Long: 1 x 4 + 272,000 x 0.2 + 2,000 x 15 =
  // 4 + 54,400 + 30,000. Twice for fast: 0.576812. A search is 0.01 more.
  t.equal(usdText(costUsd), '0.586812')
  t.equal(usdText(outputCostUsd), '0.14', '2 x (40,000 + 30,000)')
  t.equal(longContext, true)
  t.same(
    breakdown.map((line) => [line.bucket, line.quantity, usdText(line.usdPerUnit)].join(' ')),
    [
      'input 72001 0.000004',
      'cache_read 200000 0.0000002',
      'output 4000 0.00002',
      'input 1 0.000008',
      'cache_read 272000 0.0000004',
      'output 1500 0.00003',
      'reasoning 500 0.00003',
      'web_search 1 0.01',
    ],
  )
  const halves = { input_tokens: 272_001, steps: [{ input_tokens: 136_000 }, { input_tokens: 136_001 }] }
  t.equal(costOfUsage(sol, halves).longContext, false, 'each request is below the threshold')
  t.equal(cost(sol, halves), '0.544002')
  t.equal(
    cost(opus, { ...halves, output_tokens: 1_000 }),
    '1.108004',
    'a card without long-context rates prices the sum',
  )
  t.throws(() => costOfUsage(sol, { input_tokens: 300_000, steps: [{ output_tokens: 1, reasoning_tokens: 2 }] }), {
    name: 'UsageError',
  })
})

t.test('if the split of requests is unknown, their mean input is compared with the threshold', async (t) => {
  t.equal(cost(sol, { input_tokens: 544_000, requests: 2 }), '1.088')
  t.equal(cost(sol, { input_tokens: 544_001, requests: 2 }), '2.176004')
  t.equal(
    costOfUsage(sol, { input_tokens: 272_001, requests: 0 }).longContext,
    true,
    'zero counted requests are one request',
  )
  const cases: [boolean, ModelPrice, Usage, boolean?][] = [
    [true, sol, { input_tokens: 272_001, requests: 2 }],
    [false, sol, { input_tokens: 272_000, requests: 2 }],
    [false, sol, { input_tokens: 272_001, requests: 1 }],
    [false, sol, { input_tokens: 272_001 }],
    [true, sol, { input_tokens: 272_001 }, true],
    [false, sol, { input_tokens: 272_000 }, true],
    [false, sol, { input_tokens: 272_001, requests: 2, steps: [{ input_tokens: 272_001 }] }, true],
    [false, opus, { input_tokens: 272_001, requests: 2 }, true],
  ]
  for (const [expected, price, usage, mayBeMany] of cases) {
    t.equal(isUnsplit(price, usage, mayBeMany), expected, JSON.stringify([usage, mayBeMany]))
  }
})

t.test('a bucket without a rate takes the rate of its whole and is never free', async (t) => {
  const million = 1_000_000
  const bare = card({ usdPerMtok: { input: '3' } })
  const all: Usage[] = [
    { input_tokens: million },
    { input_tokens: million, cache_read_tokens: million },
    { input_tokens: million, cache_read_tokens: million, cache_read_audio_tokens: million },
    { input_tokens: million, cache_read_tokens: million, cache_read_image_tokens: million },
    { input_tokens: million, cache_write_tokens: million },
    { input_tokens: million, cache_write_tokens: million, cache_write_1h_tokens: million },
    { input_tokens: million, cache_write_tokens: million, cache_write_12h_tokens: million },
    { input_tokens: million, audio_input_tokens: million },
    { input_tokens: million, image_input_tokens: million },
    { input_tokens: million, video_input_tokens: million },
    { output_tokens: million },
    { output_tokens: million, reasoning_tokens: million },
    { output_tokens: million, audio_output_tokens: million },
    { output_tokens: million, image_output_tokens: million },
    { output_tokens: million, video_output_tokens: million },
  ]
  for (const usage of all) t.equal(cost(bare, usage), '3', JSON.stringify(usage))
  const some = card({ usdPerMtok: { input: '3', output: '7', cache_read: '1', cache_write: '4' } })
  t.equal(cost(some, { input_tokens: million, cache_write_tokens: million, cache_write_1h_tokens: million }), '4')
  t.equal(cost(some, { input_tokens: million, cache_read_tokens: million, cache_read_audio_tokens: million }), '1')
  t.equal(cost(some, { output_tokens: million, reasoning_tokens: million }), '7')
  const hears = card({ usdPerMtok: { input: '3', audio_input: '30', image_input: '20' } })
  for (const [medium, usd] of [
    ['audio', '30'],
    ['image', '20'],
  ])
    t.equal(
      cost(hears, { input_tokens: million, cache_read_tokens: million, [`cache_read_${medium}_tokens`]: million }),
      usd,
      'without a cached rate, cached tokens have the full rate of their medium',
    )
})

t.test('audio, images and reasoning have their own rates if the card has them', async (t) => {
  const price = card({
    usdPerMtok: {
      input: '1',
      cache_read: '0.1',
      cache_read_audio: '0.2',
      audio_input: '32',
      image_input: '5',
      output: '4',
      reasoning: '3',
      audio_output: '64',
      image_output: '30',
    },
  })
  const usage = {
    input_tokens: 1_000,
    cache_read_tokens: 100,
    cache_read_audio_tokens: 40,
    audio_input_tokens: 200,
    image_input_tokens: 300,
    output_tokens: 1_000,
    reasoning_tokens: 100,
    audio_output_tokens: 200,
    image_output_tokens: 300,
  }
  // 400 x 1 + 60 x 0.1 + 40 x 0.2 + 200 x 32 + 300 x 5; 400 x 4 + 100 x 3 + 200 x 64 + 300 x 30
  t.equal(cost(price, usage), '0.032014')
})

t.test('tier and region factors multiply token rates and do not apply to fees', async (t) => {
  const usage = { input_tokens: 1_000_000, output_tokens: 100_000, web_searches: 3 }
  t.equal(cost(opus, usage), '6.03')
  t.equal(cost(opus, usage, { serviceTier: 'batch' }), '3.03')
  t.equal(cost(opus, usage, { region: 'us' }), '6.63')
  t.equal(cost(opus, usage, { serviceTier: 'batch', region: 'us' }), '3.33')
  t.equal(cost(opus, usage, { serviceTier: 'fast' }), '12.03', 'fast mode is 8 and 40')
  for (const serviceTier of ['standard', 'default', 'auto', null, 'priority', 'constructor']) {
    t.equal(cost(opus, usage, { serviceTier, region: 'mars' }), '6.03', String(serviceTier))
  }
})

t.test('the served tier takes precedence over the requested one, but not over batch', async (t) => {
  const usage = { input_tokens: 1_000_000 }
  t.equal(cost(sol, { ...usage, service_tier: 'standard' }, { serviceTier: 'fast' }), '4')
  t.equal(cost(sol, { ...usage, service_tier: 'fast' }, { serviceTier: 'standard' }), '8')
  t.equal(cost(sol, { ...usage, service_tier: 'default' }, { serviceTier: 'batch' }), '2')
  t.equal(cost(sol, { ...usage, region: 'eu' }), '4.4')
})

t.test('a request fee is charged once, unless the usage counts requests', async (t) => {
  const price = card({ usdPerMtok: { input: '1', output: '1' }, usdPerUnit: { request: '0.012' } })
  t.equal(cost(price, { input_tokens: 1_000 }), '0.013')
  t.equal(cost(price, { input_tokens: 1_000, requests: 3 }), '0.037')
  t.equal(cost(price, { input_tokens: 1_000, requests: 0 }), '0.001')
})

t.test('a request has the fee of its search context, if the card has one', async (t) => {
  const usdPerUnit = { request: '0.014', request_low: '0.006', request_high: '0' }
  const price = card({ usdPerMtok: { input: '1', output: '1' }, usdPerUnit })
  t.equal(cost(price, { search_context: 'low' }), '0.006')
  t.equal(cost(price, { search_context: 'low', requests: 3 }), '0.018')
  t.equal(cost(price, { search_context: 'high' }), '0')
  t.equal(cost(price, { search_context: 'medium' }), '0.014', 'a size without its own fee has the general one')
  t.equal(cost(price, {}), '0.014', 'a request without a size has the general fee')
  const plain = card({ usdPerMtok: { input: '1', output: '1' }, usdPerUnit: { request_low: '0.006' } })
  t.equal(cost(plain, {}), '0', 'the fee of another size does not apply')
})

t.test('the total is rounded once, half up at the 12th decimal', async (t) => {
  // Each item is 4e-13 and would alone be rounded to 0; together they are 8e-13.
  const tiny = card({ usdPerMtok: { input: '0.0000004', output: '0.0000004' } })
  t.equal(cost(tiny, { input_tokens: 1, output_tokens: 1 }), '0.000000000001')
  t.equal(cost(tiny, { input_tokens: 1 }), '0')
  const half = card({ usdPerMtok: { input: '0.0000005' } })
  t.equal(cost(half, { input_tokens: 1 }), '0.000000000001')
  t.equal(cost(half, { input_tokens: 3 }), '0.000000000002')
})

t.test('input and output cost add up to the total', async (t) => {
  const tiny = card({ usdPerMtok: { input: '0.0000004', output: '0.0000004' }, usdPerUnit: { request: '0.5' } })
  const { costUsd, inputCostUsd, outputCostUsd } = costOfUsage(tiny, { input_tokens: 1, output_tokens: 1 })
  t.equal(usdText(inputCostUsd.plus(outputCostUsd)), usdText(costUsd))
  t.equal(usdText(costOfUsage(sol, { input_tokens: 10, output_tokens: 10 }).outputCostUsd), '0.0001')
})

t.test('a part larger than its whole is an error that names it', async (t) => {
  const cases: [Usage, string][] = [
    [{ input_tokens: 10, cache_read_tokens: 11 }, '/cache_read_tokens'],
    [{ input_tokens: 10, cache_read_tokens: 6, cache_write_tokens: 5 }, '/cache_write_tokens'],
    [{ input_tokens: 10, cache_write_tokens: 5, cache_write_1h_tokens: 6 }, '/cache_write_1h_tokens'],
    [{ cache_read_audio_tokens: 1 }, '/cache_read_audio_tokens'],
    [{ output_tokens: 1, reasoning_tokens: 2 }, '/reasoning_tokens'],
    [{ reasoning_tokens: 1 }, '/reasoning_tokens'],
  ]
  for (const [usage, pointer] of cases) {
    try {
      costOfUsage(sol, usage)
      t.fail(`priced ${JSON.stringify(usage)}`)
    } catch (error) {
      t.ok(error instanceof UsageError)
      t.equal((error as UsageError).pointer, pointer)
    }
  }
})
