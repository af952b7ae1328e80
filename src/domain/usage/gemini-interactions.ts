import type { Usage } from './normal-form.ts'
import { children, quantity, Reading, sumOfModalities, text, type Modality, type Node } from './reading.ts'

/** Usage of Gemini's Interactions API. */
export function isGeminiInteractions(node: Node): boolean {
  return 'total_input_tokens' in node.value || 'total_output_tokens' in node.value
}

/**
 * `total_input_tokens` includes what came from the cache; thoughts come on top of the output, tool use on top of the
 * input, unless the total says that they are inside. A count that is not there is 0.
 *
 * Source: the Usage of interactions in the @google/genai package.
 * @throws UsageError
 */
export function readGeminiInteractions(node: Node, serviceTier: string | undefined): Usage {
  const reading = new Reading()
  const input = quantity(node, 'total_input_tokens')
  const toolUse = quantity(node, 'total_tool_use_tokens')
  const output = quantity(node, 'total_output_tokens')
  const thoughts = quantity(node, 'total_thought_tokens')
  const counted = [input, toolUse, output].reduce((sum, found) => sum + (found?.count ?? 0), 0)
  reading.add('input_tokens', input)
  reading.add('input_tokens', toolUse)
  reading.add('cache_read_tokens', quantity(node, 'total_cached_tokens'))
  const prompt = [...modalities(node, 'input_tokens_by_modality'), ...modalities(node, 'tool_use_tokens_by_modality')]
  const cached = modalities(node, 'cached_tokens_by_modality')
  reading.addMedia(prompt, cached)

  reading.add('output_tokens', output)
  if (quantity(node, 'total_tokens')?.count !== counted) reading.add('output_tokens', thoughts)
  reading.add('reasoning_tokens', thoughts)
  const generated = modalities(node, 'output_tokens_by_modality')
  reading.add('audio_output_tokens', sumOfModalities(generated, ['audio']))
  reading.add('image_output_tokens', sumOfModalities(generated, ['image']))
  reading.add('video_output_tokens', sumOfModalities(generated, ['video']))

  for (const tool of children(node, 'grounding_tool_count')) {
    if (text(tool, 'type') === 'google_search') reading.add('web_searches', quantity(tool, 'count'))
  }
  reading.servedBy(serviceTier)
  return reading.finish()
}

function modalities(node: Node, name: string): Modality[] {
  return children(node, name).map((entry) => ({
    modality: text(entry, 'modality') ?? 'text',
    tokens: quantity(entry, 'tokens') ?? { count: 0, pointer: entry.pointer },
  }))
}
