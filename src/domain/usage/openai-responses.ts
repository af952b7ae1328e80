import type { Usage } from './normal-form.ts'
import { child, quantity, Reading, requiredQuantity, type Node } from './reading.ts'

/**
 * Usage of OpenAI's Responses API, its realtime and image forms among them. `{ input_tokens, output_tokens }` alone is
 * this form too: without cache fields it means the same as Anthropic's.
 */
export function isOpenAiResponses(node: Node): boolean {
  return 'input_tokens' in node.value
}

/**
 * `input_tokens` includes what came from the cache and what was written to it; `output_tokens` includes reasoning.
 *
 * Source: ResponseUsage of the openai package; the realtime form writes `input_token_details`.
 * @param toolUsage the body's `tool_usage`, which counts the billable web searches.
 * @throws UsageError
 */
export function readOpenAiResponses(node: Node, serviceTier: string | undefined, toolUsage: Node | undefined): Usage {
  const reading = new Reading()
  const input = child(node, 'input_tokens_details') ?? child(node, 'input_token_details')
  const cached = input && child(input, 'cached_tokens_details')
  const writes = input && child(input, 'cache_write_tokens_details')
  reading.add('input_tokens', requiredQuantity(node, 'input_tokens'))
  reading.add('cache_read_tokens', quantity(input, 'cached_tokens'))
  reading.add('cache_write_tokens', quantity(input, 'cache_write_tokens'))
  reading.add('cache_write_12h_tokens', quantity(writes, 'ttl_12h_tokens'))
  reading.addMedium('audio', quantity(input, 'audio_tokens'), quantity(cached, 'audio_tokens'))
  reading.addMedium('image', quantity(input, 'image_tokens'), quantity(cached, 'image_tokens'))

  const output = child(node, 'output_tokens_details') ?? child(node, 'output_token_details')
  reading.add('output_tokens', quantity(node, 'output_tokens'))
  reading.add('reasoning_tokens', quantity(output, 'reasoning_tokens'))
  reading.add('audio_output_tokens', quantity(output, 'audio_tokens'))
  reading.add('image_output_tokens', quantity(output, 'image_tokens'))

  reading.add('web_searches', quantity(toolUsage && child(toolUsage, 'web_search'), 'num_requests'))
  reading.servedBy(serviceTier)
  return reading.finish()
}
