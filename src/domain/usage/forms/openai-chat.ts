import { isDeepResearch, isGrok, type UsageSource } from '../source.ts'
import { readExtras } from '../reading/extras.ts'
import { anyone, type Form } from './form.ts'
import { child, has, inCamelCase, quantity, requiredQuantity, type Node, type Quantity } from '../reading/node.ts'
import { readDetails } from '../reading/openai-details.ts'
import { Reading, type TokenCounts } from '../reading/reading.ts'
import { tierOf } from '../reading/tier.ts'

/**
 * Usage of OpenAI's chat completions and embeddings, and of every provider that uses that form.
 *
 * `prompt_tokens` includes cache reads and writes, and `completion_tokens` includes reasoning, unless the total shows
 * that they come on top. Without a total, xAI's reasoning is on top. Reasoning of Perplexity's deep research is in no
 * total. If Google's total exceeds its parts, the rest is reasoning that it does not show.
 *
 * Source: CompletionUsage of the openai and groq-sdk packages. Other providers' fields: UsageInfo of
 * @mistralai/mistralai and ChatUsage of @openrouter/sdk, which use camel case; DeepSeek (`prompt_cache_hit_tokens`),
 * Moonshot (`cached_tokens`), xAI and Perplexity by their API references; Usage of litellm.
 */
export const openAiChat: Form = {
  name: "OpenAI's chat completions",
  hasShape: (node, { provider }) =>
    has(node, 'prompt_tokens') || (WRITES_CAMEL.has(provider) && has(node, 'promptTokens')),
  isSentBy: anyone,
  read: (node, source, body) => readChat(has(node, 'prompt_tokens') ? node : inCamelCase(node), source, body),
}

const WRITES_CAMEL: ReadonlySet<string> = new Set(['mistral', 'openrouter'])

function readChat(node: Node, source: UsageSource, body: Node | undefined): Reading {
  const reading = new Reading()
  const prompt = child(node, 'prompt_tokens_details') ?? child(node, 'prompt_token_details')
  const completion = child(node, 'completion_tokens_details') ?? child(node, 'completion_token_details')
  const input = requiredQuantity(node, 'prompt_tokens')
  const output = quantity(node, 'completion_tokens')
  const reads = readCacheReads(reading, node, prompt, input)
  const writes = readCacheWrites(reading, node, prompt)
  const reasoning = reading.largestOf(quantity(completion, 'reasoning_tokens'), quantity(node, 'reasoning_tokens'))
  const total = quantity(node, 'total_tokens')
  const counts = { input, output, reads, writes, reasoning, total }
  if (isDeepResearch(source) && has(node, 'reasoning_tokens')) addDeepResearch(reading, counts)
  else {
    const beyond = reading.addTokens(counts, { isReasoningOnTop: isGrok(source) })
    reading.addUnexplained(total, beyond, source)
  }
  const cached = (reads?.count ?? 0) + (writes?.count ?? 0)
  readDetails(reading, source, { inside: prompt, generated: completion, input, output, reasoning, cached })
  readExtras(reading, node, source)
  reading.servedBy(...tierOf(node, body))
  return reading.finish()
}

function readCacheReads(reading: Reading, node: Node, prompt: Node | undefined, input: Quantity): Quantity | undefined {
  const reads = reading.largestOf(
    quantity(prompt, 'cached_tokens'),
    quantity(prompt, 'cache_read_input_tokens'),
    quantity(node, 'cached_tokens'),
    quantity(node, 'num_cached_tokens'),
    quantity(node, 'prompt_cache_hit_tokens'),
    quantity(node, 'cache_read_input_tokens'),
  )
  reading.checkRemainder(quantity(node, 'prompt_cache_miss_tokens'), input.count - (reads?.count ?? 0))
  return reads
}

function readCacheWrites(reading: Reading, node: Node, prompt: Node | undefined): Quantity | undefined {
  const split = child(prompt, 'cache_creation_token_details') ?? child(node, 'cache_creation')
  const total = reading.largestOf(
    quantity(prompt, 'cache_write_tokens'),
    quantity(prompt, 'cache_creation_tokens'),
    quantity(prompt, 'cache_creation_input_tokens'),
    quantity(split, 'cache_creation_input_tokens'),
    quantity(node, 'cache_creation_input_tokens'),
  )
  const writes = reading.addCacheWrites(total, {
    ttl5m: quantity(split, 'ephemeral_5m_input_tokens'),
    ttl1h: quantity(split, 'ephemeral_1h_input_tokens'),
  })
  const byTtl = child(prompt, 'cache_write_tokens_details')
  reading.add('cache_write_12h_tokens', quantity(byTtl, 'ttl_12h_tokens'))
  reading.checkPart(quantity(byTtl, 'ttl_30m_tokens'), writes)
  return writes
}

/** Adds the counts of Perplexity's deep research: its reasoning is in neither the completion nor the total. */
function addDeepResearch(reading: Reading, counts: TokenCounts): void {
  const { reasoning, ...others } = counts
  reading.noteTotal(counts.total, reading.addTokens({ ...others, reasoning: undefined }))
  reading.add('output_tokens', reasoning)
  reading.add('reasoning_tokens', reasoning)
}
