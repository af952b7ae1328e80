import t from 'tap'
import { gapsOf } from '../../src/domain/price-gaps.ts'
import type { Asked, ModelPrice } from '../../src/domain/price.ts'
import type { Usage } from '../../src/domain/usage/index.ts'
import { card } from './cards.ts'

type Rates = ModelPrice['usdPerMtok']

t.test('gaps name exactly the rates and fees that the card lacks', async (t) => {
  const bare = card({ usdPerMtok: { input: '3', output: '7' } })
  const gaps = (price: ModelPrice, usage: Usage, asked: Asked = {}) =>
    gapsOf(price, usage, asked, { isAggregate: false }).map(({ code, field }) => `${code} ${field}`)
  const writes = { input_tokens: 9, cache_write_tokens: 9 }
  const reads = { input_tokens: 9, cache_read_tokens: 9 }
  const hears: Rates = { input: '3', audio_input: '30' }
  for (const [usage, expected, usdPerMtok] of [
    [{ input_tokens: 9, output_tokens: 9, reasoning_tokens: 9 }, []],
    [{ web_searches: 1 }, ['usage_unread web_searches']],
    [{ region: 'mars' }, ['tier_unpriced region']],
    [{ service_tier: 'fast' }, ['tier_unpriced service_tier']],
    [{ ...writes, cache_write_1h_tokens: 9 }, [], { input: '3' }],
    [{ ...writes, cache_write_1h_tokens: 9 }, ['usage_unread cache_write_1h_tokens'], { input: '3', cache_write: '4' }],
    [
      { ...writes, cache_write_12h_tokens: 9 },
      ['usage_unread cache_write_12h_tokens'],
      { input: '3', cache_write: '4' },
    ],
    [{ input_tokens: 9, audio_input_tokens: 9 }, ['usage_unread audio_input_tokens']],
    [{ output_tokens: 9, audio_output_tokens: 9 }, ['usage_unread audio_output_tokens']],
    [{ output_tokens: 9, image_output_tokens: 9 }, ['usage_unread image_output_tokens']],
    [{ output_tokens: 9, video_output_tokens: 9 }, ['usage_unread video_output_tokens']],
    [{ ...reads, cache_read_audio_tokens: 9 }, [], hears],
    [{ ...reads, cache_read_audio_tokens: 9 }, ['usage_unread cache_read_audio_tokens'], { ...hears, cache_read: '1' }],
    [{ ...reads, cache_read_audio_tokens: 9 }, [], { ...hears, cache_read: '1', cache_read_audio: '2' }],
  ] as [Usage, string[], Rates?][])
    t.same(gaps(usdPerMtok ? { ...bare, usdPerMtok } : bare, usage), expected, JSON.stringify([usage, usdPerMtok]))
  const long = {
    ...card({ usdPerMtok: { input: '3', cache_write: '4', cache_write_12h: '8' } }),
    longContext: { inputTokensOver: 10, usdPerMtok: { cache_write: '8' } },
  }
  t.same(gaps(long, { ...writes, cache_write_12h_tokens: 9 }), [])
  t.same(gaps(long, { ...writes, input_tokens: 11, cache_write_12h_tokens: 9 }), [
    'usage_unread cache_write_12h_tokens',
  ])
  t.same(gaps(bare, {}, { serviceTier: 'flex' }), ['tier_unpriced null'])
  const free = card({ usdPerMtok: { input: '0' } })
  t.same(gaps(free, { web_searches: 1, service_tier: 'fast' }), [], 'a free card has no gaps')
  const audio = { ...bare, provider: 'openai', model: 'gpt-audio', usdPerMtok: hears }
  t.same(gaps(audio, { input_tokens: 9 }), ['usage_unread input_tokens'])
  t.same(gaps(audio, { input_tokens: 9, audio_input_tokens: 0 }), [])
  t.same(gapsOf(audio, { input_tokens: 9 }, {}, { isAggregate: false, hasModalities: true }), [])
  t.same(gaps({ ...bare, provider: 'google' }, { input_tokens: 9, audio_input_tokens: 9 }), [])
  t.same(gaps({ ...bare, model: 'gpt-image-1.5' }, { output_tokens: 9, image_output_tokens: 9 }), [])
})
