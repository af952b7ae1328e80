import t from 'tap'
import type { Usage } from '../../src/domain/usage/index.ts'
import { requestHash, understoodMeasure } from '../../src/services/reservations/request-hash.ts'

/** Of what is understood of a usage; its words are the same each time. */
const hashOf = (usage: Usage) => requestHash(understoodMeasure({ measure: 'tokens', usage }), {})

t.test('the steps of a usage are understood: in one spelling, and another split is another request', async (t) => {
  const steps = [{ input_tokens: 4, cache_read_tokens: 1 }, { input_tokens: 6 }]
  const usage = { input_tokens: 10, cache_read_tokens: 1 }
  const split = hashOf({ ...usage, steps })
  t.equal(hashOf({ ...usage, steps: [{ cache_read_tokens: 1, input_tokens: 4, output_tokens: 0 }, steps[1]!] }), split)
  t.not(hashOf({ ...usage, steps: [{ input_tokens: 5, cache_read_tokens: 1 }, { input_tokens: 5 }] }), split)
  t.not(hashOf({ ...usage, steps: steps.toReversed() }), split)
  t.not(hashOf(usage), split)
})

t.test('a usage without steps has the hash that it had before there were any', async (t) => {
  const before = { measure: 'tokens', quantities: 'input_tokens 10 cache_read_tokens 1 ', requests: 1 }
  t.equal(hashOf({ input_tokens: 10, cache_read_tokens: 1 }), requestHash(before, {}))
})
