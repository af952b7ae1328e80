import type { ModelPrice } from '../../src/domain/price.ts'

/** A rate card for tests. Fields that are not given are empty. */
export function card(given: Partial<ModelPrice> & Pick<ModelPrice, 'usdPerMtok'>): ModelPrice {
  return {
    priceId: '1',
    provider: 'openai',
    model: 'a-model',
    effectiveDate: '1970-01-01T00:00:00Z',
    expiresAt: null,
    source: 'test',
    usdPerUnit: {},
    longContext: null,
    modifiers: {},
    ...given,
  }
}

/** OpenAI's gpt-6.1-sol in November 2026. */
export const sol = card({
  model: 'gpt-6.1-sol',
  usdPerMtok: { input: '2', output: '10', cache_read: '0.1', cache_write: '2.5' },
  usdPerUnit: { web_search: '0.01' },
  longContext: {
    inputTokensOver: 272_000,
    usdPerMtok: { input: '4', output: '15', cache_read: '0.2', cache_write: '5' },
  },
  modifiers: { batch: '0.5', flex: '0.5', fast: '2', 'region:eu': '1.1' },
})

/** Anthropic's claude-opus-5-5 in November 2026. */
export const opus = card({
  provider: 'anthropic',
  model: 'claude-opus-5-5',
  usdPerMtok: { input: '4', output: '20', cache_read: '0.2', cache_write: '5', cache_write_1h: '8' },
  usdPerUnit: { web_search: '0.01' },
  modifiers: { batch: '0.5', fast: '2', 'region:us': '1.1' },
})
