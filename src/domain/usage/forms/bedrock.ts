import type { UsageSource } from '../source.ts'
import type { Form } from './form.ts'
import { child, children, has, peek, quantity, requiredQuantity, word, type Node } from './node.ts'
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
  hasShape: (node) =>
    has(node, 'inputTokens') && has(node, ...OWN_FIELDS) && !has(node, 'cacheCreationInputTokens', 'costUSD'),
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

function read(node: Node, _source: UsageSource, body: Node | undefined): Reading {
  const reading = new Reading()
  const input = requiredQuantity(node, 'inputTokens')
  const output = quantity(node, 'outputTokens')
  const reads = reading.oneOf(quantity(node, 'cacheReadInputTokens'), quantity(node, 'cacheReadInputTokenCount'))
  const lifetimes = new Map<string, ReturnType<typeof quantity>>()
  for (const detail of children(node, 'cacheDetails')) {
    const ttl = word(detail, 'ttl') ?? ''
    const found = quantity(detail, 'inputTokens')
    lifetimes.set(ttl, sumOf(lifetimes.get(ttl), found))
    if (ttl !== '1h' && ttl !== '5m' && found !== undefined)
      reading.unread(found.pointer, 'is of an unknown time to live; priced as a five-minute write')
  }
  const writes = reading.cacheWrites(
    reading.oneOf(quantity(node, 'cacheWriteInputTokens'), quantity(node, 'cacheWriteInputTokenCount')),
    { ttl5m: lifetimes.get('5m'), ttl1h: lifetimes.get('1h') },
  )
  reading.add('input_tokens', input, reads, writes)
  reading.add('cache_read_tokens', reads)
  reading.add('output_tokens', output)
  const withoutCache = input.count + (output?.count ?? 0)
  const cached = (reads?.count ?? 0) + (writes?.count ?? 0)
  reading.rest(quantity(node, 'totalTokens'), withoutCache + cached, withoutCache)

  const tier = child(body, 'serviceTier')
  reading.servedBy(word(tier, 'type'), `${tier?.pointer}/type`)
  const performance = peek(body, 'performanceConfig')
  if (word(performance, 'latency') === 'optimized')
    reading.servedBy('latency_optimized', `${performance?.pointer}/latency`)
  return reading.finish()
}
