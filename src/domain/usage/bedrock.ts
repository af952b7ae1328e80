import type { Usage } from './normal-form.ts'
import { children, quantity, Reading, requiredQuantity, type Node } from './reading.ts'

const OWN_FIELDS = ['cacheReadInputTokens', 'cacheWriteInputTokens', 'cacheDetails']

/** Token usage of Amazon Bedrock's Converse: told from Vercel's, which it resembles, by its cache fields. */
export function isBedrock(node: Node): boolean {
  return 'inputTokens' in node.value && OWN_FIELDS.some((name) => name in node.value)
}

/**
 * `inputTokens` is without the cache: reads and writes come on top.
 *
 * Source: TokenUsage of the Bedrock runtime's API reference.
 * @throws UsageError
 */
export function readBedrock(node: Node): Usage {
  const reading = new Reading()
  const reads = quantity(node, 'cacheReadInputTokens')
  const writes = quantity(node, 'cacheWriteInputTokens')
  reading.add('input_tokens', requiredQuantity(node, 'inputTokens'))
  reading.add('input_tokens', reads)
  reading.add('input_tokens', writes)
  reading.add('cache_read_tokens', reads)
  reading.add('cache_write_tokens', writes)
  for (const detail of children(node, 'cacheDetails')) {
    if (detail.value['ttl'] === '1h') reading.add('cache_write_1h_tokens', quantity(detail, 'inputTokens'))
  }
  reading.add('output_tokens', quantity(node, 'outputTokens'))
  return reading.finish()
}
