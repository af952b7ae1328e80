import t, { type Test } from 'tap'
import { readProviderUsage, type Usage, type UsageSource } from '../../src/domain/usage/index.ts'

// A usage object with two possible readings is read in the way that agrees with its totals, and assumptions are noted.

const openai = { provider: 'openai', model: 'gpt-5.4' }
const claude = { provider: 'anthropic', model: 'claude-sonnet-4-6' }
const google = { provider: 'google', model: 'gemini-2.5-flash' }
const image = { provider: 'google', model: 'gemini-2.5-flash-image' }

/** Asserts the usage that is read from an object, and its notes. */
function reads(t: Test, source: UsageSource, raw: object, usage: Usage, notes: string[] = []): void {
  const reading = readProviderUsage(raw, source)
  t.match(reading.usage, usage, JSON.stringify(raw))
  t.same(
    reading.notes.map(({ code, pointer }) => `${code} ${pointer}`),
    notes,
    JSON.stringify(raw),
  )
}

const sdk = (inputTokens: number, outputTokens: number) => ({
  ...{ inputTokens, outputTokens, totalTokens: inputTokens + outputTokens },
})

t.test('all steps of a call count, even if the metadata describe only the last one', async (t) => {
  const usageMetadata = { promptTokenCount: 600, candidatesTokenCount: 100, totalTokenCount: 700 }
  const providerMetadata = { google: { usageMetadata } }
  const all = { input_tokens: 1_000, output_tokens: 200 }
  const note = ['usage_unread /providerMetadata/google/usageMetadata']
  reads(t, google, { totalUsage: sdk(1_000, 200), usage: sdk(600, 100), providerMetadata }, all, note)
  reads(t, google, { usage: sdk(1_000, 200), providerMetadata }, all, note)
  reads(t, google, { usage: sdk(600, 100), providerMetadata }, { input_tokens: 600, output_tokens: 100 })

  const [first, last] = [sdk(150_000, 100), sdk(200_000, 100)]
  const steps = [{ usage: first }, { usage: last }]
  const split = [
    { input_tokens: 150_000, output_tokens: 100 },
    { input_tokens: 200_000, output_tokens: 100 },
  ]
  for (const usage of [sdk(350_000, 200), last])
    reads(t, openai, { usage, steps }, { input_tokens: 350_000, requests: 2, steps: split })
  reads(t, openai, { usage: sdk(1, 1), steps }, { steps: split }, ['usage_total_differs /usage'])
  for (const odd of [3, ['a', 'b'], [], null]) reads(t, openai, { usage: last, steps: odd }, { input_tokens: 200_000 })
  t.ok(readProviderUsage({ usage: sdk(350_000, 200), finalStep: { usage: last } }, openai).isAggregate)
  t.notOk(readProviderUsage({ usage: last, finalStep: { usage: last } }, openai).isAggregate)
})

t.test('Vercel: `raw` describes the same request, and version 7 has its metadata in the final step', async (t) => {
  const raw = { promptTokenCount: 10, candidatesTokenCount: 100, thoughtsTokenCount: 40, totalTokenCount: 110 }
  const details = { inputTokenDetails: { cacheReadTokens: 0 }, outputTokenDetails: { reasoningTokens: 40 } }
  reads(t, google, { ...sdk(10, 140), ...details, raw }, { input_tokens: 10, output_tokens: 100, reasoning_tokens: 40 })
  const providerMetadata = { openai: { serviceTier: 'priority' } }
  const finalStep = { usage: sdk(1_000, 100), providerMetadata }
  reads(t, openai, { usage: sdk(2_000, 200), finalStep }, { input_tokens: 2_000, service_tier: 'priority' })
})

t.test('the requests of a run are priced separately if they add up to its total', async (t) => {
  const one = (input: number, output: number) => ({
    ...{ input_tokens: input, output_tokens: output, total_tokens: input + output },
    ...{ input_tokens_details: { cached_tokens: 0 }, output_tokens_details: { reasoning_tokens: 0 } },
  })
  const run = { requests: 2, ...one(400_000, 3_000) }
  const entries = [one(300_000, 1_000), one(100_000, 2_000)]
  const steps = [
    { input_tokens: 300_000, output_tokens: 1_000 },
    { input_tokens: 100_000, output_tokens: 2_000 },
  ]
  reads(t, openai, { ...run, request_usage_entries: entries }, { requests: 2, steps })
  reads(t, openai, { ...run, request_usage_entries: entries.slice(1) }, { requests: 2 }, [
    'usage_total_differs /request_usage_entries',
  ])

  const iterations = [
    { type: 'compaction', input_tokens: 50_000, output_tokens: 2_000 },
    { type: 'message', input_tokens: 1_000, output_tokens: 100 },
  ]
  const sum = { input_tokens: 51_000, output_tokens: 2_100, requests: 2 }
  reads(t, claude, { input_tokens: 1_000, output_tokens: 100, iterations }, sum)
  reads(t, claude, { input_tokens: 51_000, output_tokens: 2_100, iterations }, sum)
})

t.test('a usage with only null counts cannot be read, and a total alone is never free', async (t) => {
  for (const raw of [
    { usageMetadata: { promptTokenCount: null, candidatesTokenCount: null, totalTokenCount: null } },
    { prompt_token_count: null, candidates_token_count: null },
    { total_input_tokens: null, total_output_tokens: null, total_tokens: null },
  ])
    t.throws(() => readProviderUsage(raw, google), { message: 'counts no tokens' }, JSON.stringify(raw))
  for (const source of [openai, claude, { provider: 'aws', model: claude.model }])
    reads(t, source, { ...sdk(0, 0), totalTokens: 150 }, { output_tokens: 150 }, ['usage_total_differs /totalTokens'])
  reads(t, openai, { prompt_tokens: 100, total_tokens: 500 }, { input_tokens: 100, output_tokens: 400 }, [
    'usage_total_differs /total_tokens',
  ])
})

t.test('a usage that counts no requests is one request, with its fee', async (t) => {
  const chat = { prompt_tokens: 10, completion_tokens: 1, total_tokens: 11, search_context_size: 'low' }
  const { usage } = readProviderUsage({ ...chat, requests: 0 }, { provider: 'perplexity', model: 'sonar-pro' })
  t.equal(usage.requests, undefined)
})

t.test('the output of an image model counts as images unless the usage says otherwise', async (t) => {
  const details = { image_tokens: 0, text_tokens: 0 }
  const openaiImage = { provider: 'openai', model: 'gpt-image-1.5' }
  const made = { input_tokens: 50, input_tokens_details: {}, output_tokens: 4_160, total_tokens: 4_210 }
  reads(t, openaiImage, { ...made, output_tokens_details: details }, { image_output_tokens: 4_160 })

  const expected = { output_tokens: 1_290, image_output_tokens: 1_290 }
  const metadata = { promptTokenCount: 50, candidatesTokenCount: 1_290, totalTokenCount: 1_340 }
  reads(t, image, metadata, expected, ['usage_unread /candidatesTokenCount'])
  reads(t, image, sdk(50, 1_290), expected, ['usage_unread /outputTokens'])
  const chat = { prompt_tokens: 50, completion_tokens: 1_290, total_tokens: 1_340 }
  reads(t, image, chat, expected, ['usage_unread /completion_tokens'])
  reads(t, image, { input_tokens: 50, output_tokens: 1_290 }, expected, ['usage_unread /output_tokens'])
  const inner = { inputTokenDetails: { cacheReadTokens: 0 }, outputTokenDetails: { textTokens: 1_290 } }
  reads(t, image, { ...sdk(50, 1_290), ...inner }, expected, ['usage_unread /outputTokens'])
  const chain = {
    input_tokens: 50,
    output_tokens: 1_290,
    total_tokens: 1_340,
    output_token_details: { reasoning: 290 },
  }
  reads(t, image, chain, { image_output_tokens: 1_000 }, ['usage_unread /output_tokens'])
  const thinking = { ...sdk(20, 1_500), reasoningTokens: 300 }
  const gateway = { provider: 'openrouter', model: 'google/gemini-3-pro-image-preview' }
  reads(t, gateway, thinking, { output_tokens: 1_500, image_output_tokens: 1_200 }, ['usage_unread /outputTokens'])
  const inside = { ...metadata, thoughtsTokenCount: 290 }
  reads(t, image, inside, { output_tokens: 1_290, image_output_tokens: 1_000 }, ['usage_unread /candidatesTokenCount'])
  const none = { completion_tokens_details: { image_tokens: 0, reasoning_tokens: 0 } }
  reads(t, image, { ...chat, ...none }, { image_output_tokens: 0 })
  const listed = [{ modality: 'TEXT', tokenCount: 1_290 }]
  const { usage, notes } = readProviderUsage({ ...metadata, candidatesTokensDetails: listed }, image)
  t.notOk(usage.image_output_tokens ?? notes.length, 'listed text is not counted as images')
})

t.test('cache writes whose lifetimes do not add up are noted', async (t) => {
  const raw = { input_tokens: 10, output_tokens: 20, cache_creation_input_tokens: 1_000, cache_read_input_tokens: 0 }
  const of = (fiveMinutes: number | null | undefined, hour: number | null | undefined) => ({
    ...raw,
    cache_creation: { ephemeral_5m_input_tokens: fiveMinutes, ephemeral_1h_input_tokens: hour },
  })
  const written = { cache_write_tokens: 1_000 }
  reads(t, claude, of(300, 700), { ...written, cache_write_1h_tokens: 700 })
  for (const empty of [of(undefined, undefined), of(null, null)])
    reads(t, claude, empty, written, ['usage_unread /cache_creation_input_tokens'])
  const pointer = '/cache_creation/ephemeral_5m_input_tokens'
  reads(t, claude, of(300, undefined), written, [`usage_total_differs ${pointer}`])
})

t.test('Claude Code sessions: only the entry of the model counts, with or without a date in its name', async (t) => {
  const share = (inputTokens: number) => ({ inputTokens, outputTokens: 0, costUSD: 0 })
  const haiku = 'claude-haiku-4-5-20251001'
  reads(t, { ...claude, model: 'claude-haiku-4-5' }, { modelUsage: { [haiku]: share(7) } }, { input_tokens: 7 })
  const both = { modelUsage: { [haiku]: share(7), 'claude-sonnet-4-6': share(9) } }
  t.match(readProviderUsage(both, { ...claude, model: 'claude-haiku-4-5' }).usage, { input_tokens: 7 })
  reads(t, claude, { modelUsage: { [haiku]: share(7) } }, { input_tokens: 7 }, [`usage_unread /modelUsage/${haiku}`])
})

t.test('a tier is read wherever providers put it, and a batch result is recognised by its shape', async (t) => {
  const chat = { prompt_tokens: 10, completion_tokens: 1, total_tokens: 11 }
  const metadata = { promptTokenCount: 10, candidatesTokenCount: 1, totalTokenCount: 11 }
  const priority = { service_tier: 'priority' }
  reads(t, google, { usageMetadata: metadata, serviceTier: 'priority' }, priority)
  for (const usual of ['auto', 'default', ''])
    reads(t, openai, { ...priority, usage: { ...chat, service_tier: usual } }, priority)
  reads(t, openai, { ...priority, response: { usage: chat } }, priority)
  reads(t, openai, { service_tier: 'flex', response: { ...priority, usage: chat } }, priority)

  const asked = { ...priority, response: { service_tier: 'default', usage: chat } }
  reads(t, openai, asked, { service_tier: 'standard' })
  reads(t, openai, { ...priority, usage: { ...chat, service_tier: 'standard' } }, { service_tier: 'standard' })

  const batch = { service_tier: 'batch' }
  reads(t, openai, { custom_id: 'r', response: { body: { usage: chat, service_tier: 'default' } } }, batch)
  for (const line of [{ key: 'r' }, { status: '', processed_time: '2026-11-01T18:13:16Z' }])
    reads(t, google, { ...line, response: { usageMetadata: metadata } }, batch)
  const logged = readProviderUsage({ response: { status: 200, body: { usage: chat } } }, openai)
  t.equal(logged.usage.service_tier, undefined, 'a logged response is not a batch result')
  const message = { usage: { input_tokens: 10, output_tokens: 1, cache_read_input_tokens: 0 } }
  reads(t, claude, { custom_id: 'r', result: { type: 'succeeded', message } }, batch)
  t.notOk(readProviderUsage({ response: { usageMetadata: metadata } }, google).usage.service_tier)
})
