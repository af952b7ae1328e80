import type { UsageSource } from '../source.ts'
import type { Form } from './form.ts'
import { children, has, peek, quantity, requiredQuantity, word, type Node, type Quantity } from '../reading/node.ts'
import { Reading, sumOf } from '../reading/reading.ts'

/**
 * Usage of Amazon Bedrock's Converse API, and of Amazon's models when they are invoked directly.
 *
 * `inputTokens` excludes the cache: reads and writes come on top. The total may include them or not.
 *
 * Source: TokenUsage, CacheDetail, ServiceTier and PerformanceConfiguration of the Bedrock runtime's API reference.
 */
export const bedrock: Form = {
  name: "Bedrock's Converse",
  hasShape: (node, { provider }, body) =>
    has(node, 'inputTokens') &&
    !has(node, 'cacheCreationInputTokens', 'costUSD') &&
    (has(node, ...OWN_FIELDS) || (provider === 'aws' && !has(node, ...SDK_FIELDS) && !isSdkResult(body))),
  isSentBy: ({ provider }: UsageSource) => provider === 'aws',
  read: readConverse,
}

const OWN_FIELDS = [
  'cacheReadInputTokens',
  'cacheWriteInputTokens',
  'cacheReadInputTokenCount',
  'cacheWriteInputTokenCount',
  'cacheDetails',
]

/** Fields that only Vercel's AI SDK sends. They distinguish it from Converse without a cache. */
const SDK_FIELDS = ['inputTokenDetails', 'outputTokenDetails', 'cachedInputTokens', 'reasoningTokens', 'raw']

function isSdkResult(body: Node | undefined): boolean {
  return body !== undefined && has(body, 'providerMetadata', 'steps', 'totalUsage')
}

function readConverse(node: Node, _source: UsageSource, body: Node | undefined): Reading {
  const reading = new Reading()
  const input = requiredQuantity(node, 'inputTokens')
  const output = quantity(node, 'outputTokens')
  const reads = reading.largestOf(quantity(node, 'cacheReadInputTokens'), quantity(node, 'cacheReadInputTokenCount'))
  const { ttl5m, ttl1h } = readLifetimes(reading, node)
  const writes = reading.addCacheWrites(
    reading.largestOf(quantity(node, 'cacheWriteInputTokens'), quantity(node, 'cacheWriteInputTokenCount')),
    { ttl5m, ttl1h },
  )
  reading.add('input_tokens', input, reads, writes)
  reading.add('cache_read_tokens', reads)
  reading.add('output_tokens', output)
  const withoutCache = input.count + (output?.count ?? 0)
  const cached = (reads?.count ?? 0) + (writes?.count ?? 0)
  reading.checkTotal(quantity(node, 'totalTokens'), withoutCache + cached, withoutCache)

  readTierAndLatency(reading, body)
  return reading.finish()
}

/** Reads cache writes by lifetime. */
export function readLifetimes(
  reading: Reading,
  usage: Node | undefined,
): { ttl5m: Quantity | undefined; ttl1h: Quantity | undefined } {
  let ttl5m: Quantity | undefined
  let ttl1h: Quantity | undefined
  for (const detail of children(usage, 'cacheDetails')) {
    const ttl = word(detail, 'ttl')
    const found = quantity(detail, 'inputTokens')
    if (ttl === '1h') ttl1h = sumOf(ttl1h, found)
    else ttl5m = sumOf(ttl5m, found)
    if (ttl !== '1h' && ttl !== '5m' && found !== undefined)
      reading.noteUnread(found.pointer, 'is of an unknown time to live; priced as a five-minute write')
  }
  return { ttl5m, ttl1h }
}

/** Reads the served tier, and whether the latency was optimized, which has prices of its own. */
export function readTierAndLatency(reading: Reading, place: Node | undefined): void {
  if (place === undefined) return
  const tier = peek(place, 'serviceTier')
  reading.servedBy(word(tier, 'type') ?? word(place, 'serviceTier'), `${place.pointer}/serviceTier`)
  const performance = peek(place, 'performanceConfig')
  if (word(performance, 'latency') === 'optimized')
    reading.servedBy('latency_optimized', `${place.pointer}/performanceConfig/latency`)
}
