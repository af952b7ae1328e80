import type { UsageSource } from '../source.ts'
import type { Form } from './form.ts'
import { child, children, has, peek, quantity, requiredQuantity, word, type Node, type Quantity } from './node.ts'
import { Reading, sumOf } from './reading.ts'

/**
 * Token usage of Amazon Bedrock's Converse, and of Amazon's models when they are invoked.
 *
 * `inputTokens` is without the cache: reads and writes come on top. The total may be with them or without.
 *
 * Source: TokenUsage, CacheDetail, ServiceTier and PerformanceConfiguration of the Bedrock runtime's API reference.
 */
export const bedrock: Form = {
  name: "Bedrock's Converse",
  hasShape: (node, { provider }, body) =>
    has(node, 'inputTokens') &&
    !has(node, 'cacheCreationInputTokens', 'costUSD') &&
    (has(node, ...OWN_FIELDS) ||
      (provider === 'aws' && !has(node, ...SDK_FIELDS) && peek(body, 'providerMetadata') === undefined)),
  isSentBy: ({ provider }: UsageSource) => provider === 'aws',
  read,
}

const OWN_FIELDS = [
  'cacheReadInputTokens',
  'cacheWriteInputTokens',
  'cacheReadInputTokenCount',
  'cacheWriteInputTokenCount',
  'cacheDetails',
]

/** By which Vercel's AI SDK is told from Converse without a cache. */
const SDK_FIELDS = ['inputTokenDetails', 'outputTokenDetails', 'cachedInputTokens', 'reasoningTokens', 'raw']

function read(node: Node, _source: UsageSource, body: Node | undefined): Reading {
  const reading = new Reading()
  const input = requiredQuantity(node, 'inputTokens')
  const output = quantity(node, 'outputTokens')
  const reads = reading.largestOf(quantity(node, 'cacheReadInputTokens'), quantity(node, 'cacheReadInputTokenCount'))
  let ttl5m: Quantity | undefined
  let ttl1h: Quantity | undefined
  for (const detail of children(node, 'cacheDetails')) {
    const ttl = word(detail, 'ttl')
    const found = quantity(detail, 'inputTokens')
    if (ttl === '1h') ttl1h = sumOf(ttl1h, found)
    else ttl5m = sumOf(ttl5m, found)
    if (ttl !== '1h' && ttl !== '5m' && found !== undefined)
      reading.noteUnread(found.pointer, 'is of an unknown time to live; priced as a five-minute write')
  }
  const writes = reading.addCacheWrites(
    reading.largestOf(quantity(node, 'cacheWriteInputTokens'), quantity(node, 'cacheWriteInputTokenCount')),
    { ttl5m, ttl1h },
  )
  reading.add('input_tokens', input, reads, writes)
  reading.add('cache_read_tokens', reads)
  reading.add('output_tokens', output)
  const withoutCache = input.count + (output?.count ?? 0)
  const cached = (reads?.count ?? 0) + (writes?.count ?? 0)
  reading.checkRemainder(quantity(node, 'totalTokens'), withoutCache + cached, withoutCache)

  const tier = child(body, 'serviceTier')
  reading.servedBy(word(tier, 'type'), `${tier?.pointer}/type`)
  const performance = peek(body, 'performanceConfig')
  if (word(performance, 'latency') === 'optimized')
    reading.servedBy('latency_optimized', `${performance?.pointer}/latency`)
  return reading.finish()
}
