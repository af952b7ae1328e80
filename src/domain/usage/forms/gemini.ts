import type { UsageSource } from '../source.ts'
import type { Form } from './form.ts'
import { has, inCamelCase, pointerOf, quantity, word, type Node } from './node.ts'
import { modalities, Reading } from './reading.ts'

/**
 * Usage metadata of Gemini, in the JSON's names or in those of its Python client (snake case).
 *
 * `promptTokenCount` includes what came from the cache; thoughts come on top of the candidates and are output, what tools put
 * into the prompt comes on top of it and is input, unless the total says that they are inside. A count that is not there is 0; what
 * the total has beyond all parts is priced as output, the dearer, and noted.
 *
 * Source: GenerateContentResponseUsageMetadata and UsageMetadata of the @google/genai package.
 */
export const gemini: Form = {
  name: "Gemini's usageMetadata",
  hasShape: (node) => has(node, ...COUNTS) || has(inCamelCase(node), ...COUNTS),
  isSentBy: ({ provider }: UsageSource) => provider === 'google',
  read: (node) => read(has(node, ...COUNTS) ? node : inCamelCase(node)),
}

const COUNTS = ['prompt_token_count', 'candidates_token_count', 'total_token_count', 'response_token_count']

function read(node: Node): Reading {
  const reading = new Reading()
  const prompt = quantity(node, 'prompt_token_count')
  const tools = quantity(node, 'tool_use_prompt_token_count')
  const cached = quantity(node, 'cached_content_token_count')
  const output = reading.oneOf(quantity(node, 'candidates_token_count'), quantity(node, 'response_token_count'))
  const thoughts = quantity(node, 'thoughts_token_count')
  const total = quantity(node, 'total_token_count')
  const [inPrompt, inOutput] = [prompt?.count ?? 0, output?.count ?? 0]
  const { onTop, beyond } = reading.byTotal(total, inPrompt + inOutput, [
    { count: thoughts?.count ?? 0, isOnTop: true, mayBeInside: (thoughts?.count ?? 0) <= inOutput },
    { count: tools?.count ?? 0, isOnTop: true, mayBeInside: (tools?.count ?? 0) <= inPrompt },
    { count: cached?.count ?? 0, isOnTop: false, mayBeInside: (cached?.count ?? 0) <= inPrompt },
  ])
  reading.add('input_tokens', prompt)
  if (onTop[1]) reading.add('input_tokens', tools)
  if (onTop[2]) reading.add('input_tokens', cached)
  reading.add('cache_read_tokens', cached)
  reading.add('output_tokens', output)
  if (onTop[0]) reading.add('output_tokens', thoughts)
  reading.add('reasoning_tokens', thoughts)
  if (beyond > 0 && total !== undefined) reading.add('output_tokens', { ...total, count: beyond })
  reading.totalDiffers(total, beyond)

  const inTools = modalities(node, 'tool_use_prompt_tokens_details', 'token_count')
  const ofPrompt = modalities(node, 'prompt_tokens_details', 'token_count')
  const ofCache = modalities(node, 'cache_tokens_details', 'token_count')
  const ofOutput = [
    ...modalities(node, 'candidates_tokens_details', 'token_count'),
    ...modalities(node, 'response_tokens_details', 'token_count'),
  ]
  reading.checkModalities(inTools, tools)
  reading.checkModalities(ofPrompt, prompt)
  reading.checkModalities(ofCache, cached)
  reading.checkModalities(ofOutput, output)
  reading.addMedia([...ofPrompt, ...inTools], ofCache)
  reading.addOutputMedia(ofOutput)

  for (const name of ['service_tier', 'traffic_type']) reading.servedBy(word(node, name), pointerOf(node, name))
  return reading.finish()
}
