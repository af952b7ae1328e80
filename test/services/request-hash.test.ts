import t from 'tap'
import type { Usage } from '../../src/domain/usage/index.ts'
import { requestHash, understoodMeasure } from '../../src/services/reservations/request-hash.ts'

/** The hash of a request by its understood usage; the rest of the request is always the same. */
const hashOf = (usage: Usage) => requestHash(understoodMeasure({ measure: 'tokens', usage }), {})

t.test('two spellings of the same usage steps are one request, and another split is another request', async (t) => {
  const steps = [{ input_tokens: 4, cache_read_tokens: 1 }, { input_tokens: 6 }]
  const usage = { input_tokens: 10, cache_read_tokens: 1 }
  const split = hashOf({ ...usage, steps })
  t.equal(hashOf({ ...usage, steps: [{ cache_read_tokens: 1, input_tokens: 4, output_tokens: 0 }, steps[1]!] }), split)
  t.not(hashOf({ ...usage, steps: [{ input_tokens: 5, cache_read_tokens: 1 }, { input_tokens: 5 }] }), split)
  t.not(hashOf({ ...usage, steps: steps.toReversed() }), split)
  t.not(hashOf(usage), split)
})

t.test('a usage without steps has the same hash as before steps existed', async (t) => {
  const before = { measure: 'tokens', quantities: 'input_tokens 10 cache_read_tokens 1 ', requests: 1 }
  t.equal(hashOf({ input_tokens: 10, cache_read_tokens: 1 }), requestHash(before, {}))
})
