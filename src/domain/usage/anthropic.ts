import { checkRegion, type Usage } from './normal-form.ts'
import { child, children, quantity, Reading, requiredQuantity, text, type Node } from './reading.ts'

const OWN_FIELDS = [
  'cache_creation_input_tokens',
  'cache_read_input_tokens',
  'cache_creation',
  'server_tool_use',
  'inference_geo',
]

/** Usage of Anthropic's messages: told from OpenAI's by its cache fields. */
export function isAnthropic(node: Node): boolean {
  return 'input_tokens' in node.value && OWN_FIELDS.some((name) => name in node.value)
}

/**
 * `input_tokens` is without the cache: reads and writes come on top. `output_tokens` includes thinking. What a
 * compaction used is not in the totals and is added. Stream deltas are cumulative: the last one is the usage.
 *
 * Source: Usage, MessageDeltaUsage and BetaUsage of the @anthropic-ai/sdk package. The tokens of an advisor are another
 * model's, so they are not in this usage: they are a record of their own.
 * @throws UsageError
 */
export function readAnthropic(node: Node, serviceTier: string | undefined): Usage {
  const reading = new Reading()
  addTokens(reading, node)
  for (const iteration of children(node, 'iterations')) {
    if (iteration.value['type'] === 'compaction') addTokens(reading, iteration)
  }
  reading.add('reasoning_tokens', quantity(child(node, 'output_tokens_details'), 'thinking_tokens'))
  reading.add('web_searches', quantity(child(node, 'server_tool_use'), 'web_search_requests'))
  // Fast mode is a price of its own, whatever the tier is called.
  reading.servedBy(text(node, 'speed') === 'fast' ? 'fast' : (text(node, 'service_tier') ?? serviceTier))
  const region = text(node, 'inference_geo')
  if (region !== undefined && region !== '' && region !== 'global' && region !== 'not_available') {
    reading.usage.region = checkRegion(`${node.pointer}/inference_geo`, region)
  }
  return reading.finish()
}

function addTokens(reading: Reading, node: Node): void {
  const reads = quantity(node, 'cache_read_input_tokens')
  const creation = child(node, 'cache_creation')
  const writes1h = quantity(creation, 'ephemeral_1h_input_tokens')
  const writes5m = quantity(creation, 'ephemeral_5m_input_tokens')
  // The total of writes; where only the split by time to live is there, its sum.
  const splits = [writes5m, writes1h].filter((split) => split !== undefined)
  const total = quantity(node, 'cache_creation_input_tokens')
  const writes = total === undefined ? splits : [total]
  reading.add('input_tokens', requiredQuantity(node, 'input_tokens'))
  reading.add('input_tokens', reads)
  reading.add('cache_read_tokens', reads)
  for (const part of writes) {
    reading.add('input_tokens', part)
    reading.add('cache_write_tokens', part)
  }
  reading.add('cache_write_1h_tokens', writes1h)
  reading.add('output_tokens', quantity(node, 'output_tokens'))
}
