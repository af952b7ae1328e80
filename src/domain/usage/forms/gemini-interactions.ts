import type { UsageSource } from '../source.ts'
import type { Form } from './form.ts'
import { addGoogleTokens } from '../reading/google-tokens.ts'
import { children, has, quantity, word, type Node } from '../reading/node.ts'
import { addModalities, modalities } from '../reading/media.ts'
import { Reading } from '../reading/reading.ts'
import { tierOf } from '../reading/tier.ts'

/**
 * Usage of Gemini's Interactions API.
 *
 * `total_input_tokens` includes cached tokens. Thoughts come on top of the output and tool use on top of the input,
 * unless the total shows that they are inside. A missing count is 0. If the total exceeds all parts, the rest is
 * priced as output, the higher rate, and noted.
 *
 * Source: Usage of interactions in the @google/genai package.
 */
export const geminiInteractions: Form = {
  name: "Gemini's interactions",
  hasShape: (node) => has(node, 'total_input_tokens', 'total_output_tokens'),
  isSentBy: ({ provider }: UsageSource) => provider === 'google',
  read: readInteraction,
}

function readInteraction(node: Node, source: UsageSource, body: Node | undefined): Reading {
  const reading = new Reading()
  const input = quantity(node, 'total_input_tokens')
  const tools = quantity(node, 'total_tool_use_tokens')
  const cached = quantity(node, 'total_cached_tokens')
  const output = quantity(node, 'total_output_tokens')
  const thoughts = quantity(node, 'total_thought_tokens')
  const total = quantity(node, 'total_tokens')
  addGoogleTokens(reading, node, { prompt: input, tools, cached, output, thoughts, total })
  // The first turn's part of the input.
  reading.checkPart(quantity(node, 'initial_input_tokens'), input)

  const listOf = (name: string) => modalities(node, name, 'tokens')
  const generated = listOf('output_tokens_by_modality')
  addModalities(reading, {
    prompt: { list: listOf('input_tokens_by_modality'), whole: input },
    tools: { list: listOf('tool_use_tokens_by_modality'), whole: tools },
    cached: { list: listOf('cached_tokens_by_modality'), whole: cached },
    output: { list: generated, whole: output },
  })
  if (generated.length === 0) reading.addImageOutput(source, undefined, undefined)

  for (const tool of children(node, 'grounding_tool_count')) {
    const count = quantity(tool, 'count')
    if (word(tool, 'type') === 'google_search') reading.add('web_searches', count)
    else reading.noteUnpriced(count)
  }
  reading.servedBy(...tierOf(node, body))
  return reading.finish()
}
