import { UsageError, type Usage } from './normal-form.ts'
import { child, isObject, quantity, Reading, requiredQuantity, type Node, type Quantity } from './reading.ts'

/** Usage of Vercel's AI SDK: versions 5 to 7, and the form between SDK and providers since 6. */
export function isVercel(node: Node): boolean {
  return 'inputTokens' in node.value
}

/**
 * `inputTokens` includes what came from the cache and what was written to it; `outputTokens` includes reasoning.
 *
 * Source: LanguageModelUsage of the SDK (`inputTokenDetails`, `outputTokenDetails`; before: `cachedInputTokens`,
 * `reasoningTokens`), and LanguageModelV3Usage, whose `inputTokens` is an object.
 * @throws UsageError
 */
export function readVercel(node: Node): Usage {
  const reading = new Reading()
  if (isObject(node.value['inputTokens'])) {
    const input = child(node, 'inputTokens')
    const output = child(node, 'outputTokens')
    if (input !== undefined) reading.add('input_tokens', requiredQuantity(input, 'total'))
    reading.add('cache_read_tokens', quantity(input, 'cacheRead'))
    reading.add('cache_write_tokens', quantity(input, 'cacheWrite'))
    reading.add('output_tokens', quantity(output, 'total'))
    reading.add('reasoning_tokens', quantity(output, 'reasoning'))
    checkRest(quantity(input, 'noCache'), quantity(input, 'total'))
    checkRest(quantity(output, 'text'), quantity(output, 'total'))
    return reading.finish()
  }
  const input = child(node, 'inputTokenDetails')
  const output = child(node, 'outputTokenDetails')
  reading.add('input_tokens', requiredQuantity(node, 'inputTokens'))
  reading.add('cache_read_tokens', quantity(input, 'cacheReadTokens') ?? quantity(node, 'cachedInputTokens'))
  reading.add('cache_write_tokens', quantity(input, 'cacheWriteTokens'))
  reading.add('output_tokens', quantity(node, 'outputTokens'))
  reading.add('reasoning_tokens', quantity(output, 'reasoningTokens') ?? quantity(node, 'reasoningTokens'))
  checkRest(quantity(input, 'noCacheTokens'), quantity(node, 'inputTokens'))
  checkRest(quantity(output, 'textTokens'), quantity(node, 'outputTokens'))
  return reading.finish()
}

/** What is neither cached nor reasoning follows from the others; here it only has to be possible. */
function checkRest(rest: Quantity | undefined, whole: Quantity | undefined): void {
  if (rest === undefined || rest.count <= (whole?.count ?? 0)) return
  throw new UsageError(rest.pointer, `is more than the whole (${whole?.count ?? 0})`)
}
