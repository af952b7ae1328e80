import type { Usage } from './normal-form.ts'
import { child, quantity, Reading, requiredQuantity, type Node } from './reading.ts'

/** Usage of OpenAI's chat completions and embeddings, and of all who answer in that form (Groq and most gateways). */
export function isOpenAiChat(node: Node): boolean {
  return 'prompt_tokens' in node.value
}

/**
 * `prompt_tokens` includes what came from the cache and what was written to it; `completion_tokens` includes reasoning.
 *
 * Source: CompletionUsage of the openai and groq-sdk packages. Fields of others in this form: `cached_tokens` beside
 * the totals (Moonshot), `prompt_cache_hit_tokens` (DeepSeek), Anthropic's cache fields beside the totals (LiteLLM),
 * `num_search_queries` (Perplexity).
 * @throws UsageError
 */
export function readOpenAiChat(node: Node, serviceTier: string | undefined): Usage {
  const reading = new Reading()
  const prompt = child(node, 'prompt_tokens_details')
  const completion = child(node, 'completion_tokens_details')
  reading.add('input_tokens', requiredQuantity(node, 'prompt_tokens'))
  reading.add(
    'cache_read_tokens',
    quantity(prompt, 'cached_tokens') ??
      quantity(node, 'cached_tokens', 'prompt_cache_hit_tokens', 'cache_read_input_tokens'),
  )
  reading.add(
    'cache_write_tokens',
    quantity(prompt, 'cache_write_tokens', 'cache_creation_tokens') ?? quantity(node, 'cache_creation_input_tokens'),
  )
  const writes = prompt && child(prompt, 'cache_write_tokens_details')
  reading.add('cache_write_12h_tokens', quantity(writes, 'ttl_12h_tokens'))
  reading.addMedium('audio', quantity(prompt, 'audio_tokens'), undefined)
  reading.addMedium('image', quantity(prompt, 'image_tokens'), undefined)

  const output = quantity(node, 'completion_tokens')
  const reasoning = quantity(completion, 'reasoning_tokens') ?? quantity(node, 'reasoning_tokens')
  reading.add('output_tokens', output)
  reading.add('reasoning_tokens', reasoning)
  reading.add('audio_output_tokens', quantity(completion, 'audio_tokens'))
  reading.add('image_output_tokens', quantity(completion, 'image_tokens'))
  // xAI counts reasoning beside the completion. Its total tells: with reasoning inside, the sum would be too large.
  const total = quantity(node, 'total_tokens')?.count
  const counted = (reading.usage.input_tokens ?? 0) + (output?.count ?? 0)
  if (reasoning !== undefined && total === counted + reasoning.count) reading.add('output_tokens', reasoning)

  reading.add('web_searches', quantity(node, 'num_search_queries'))
  reading.servedBy(serviceTier)
  return reading.finish()
}
