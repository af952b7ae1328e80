import type { UsageSource } from '../source.ts'
import type { Form } from './form.ts'
import { addGoogleTokens } from '../reading/google-tokens.ts'
import { has, inCamelCase, pointerTo, quantity, word, type Node } from '../reading/node.ts'
import { addModalities, modalities } from '../reading/media.ts'
import { Reading } from '../reading/reading.ts'
import { tierOf } from '../reading/tier.ts'

/**
 * Usage metadata of Gemini, with the names of the JSON API or of the Python client (snake case).
 *
 * `promptTokenCount` includes cached tokens. Thoughts count as output on top of the candidates, and tool results as
 * input on top of the prompt, unless the total shows that they are inside. A missing count is 0. If the total exceeds
 * all parts, the rest is priced as output, the higher rate, and noted.
 *
 * Source: GenerateContentResponseUsageMetadata and UsageMetadata of the @google/genai package.
 */
export const gemini: Form = {
  name: "Gemini's usageMetadata",
  hasShape: (node) => has(node, ...COUNTS) || has(inCamelCase(node), ...COUNTS),
  isSentBy: ({ provider }: UsageSource) => provider === 'google',
  read: (node, source, body) => readGemini(has(node, ...COUNTS) ? node : inCamelCase(node), source, body),
}

const COUNTS = ['prompt_token_count', 'candidates_token_count', 'total_token_count', 'response_token_count']

function readGemini(node: Node, source: UsageSource, body: Node | undefined): Reading {
  const reading = new Reading()
  const prompt = quantity(node, 'prompt_token_count')
  const tools = quantity(node, 'tool_use_prompt_token_count')
  const cached = quantity(node, 'cached_content_token_count')
  const output = reading.largestOf(quantity(node, 'candidates_token_count'), quantity(node, 'response_token_count'))
  const thoughts = quantity(node, 'thoughts_token_count')
  const total = quantity(node, 'total_token_count')
  addGoogleTokens(reading, node, { prompt, tools, cached, output, thoughts, total })

  // The first turn's part of the prompt.
  reading.checkPart(quantity(node, 'initial_prompt_token_count'), prompt)

  const listOf = (name: string) => modalities(node, name, 'token_count')
  const generated = [...listOf('candidates_tokens_details'), ...listOf('response_tokens_details')]
  addModalities(reading, {
    prompt: { list: listOf('prompt_tokens_details'), whole: prompt },
    tools: { list: listOf('tool_use_prompt_tokens_details'), whole: tools },
    cached: { list: listOf('cache_tokens_details'), whole: cached },
    output: { list: generated, whole: output },
  })
  if (generated.length === 0) reading.addImageOutput(source, undefined, undefined)

  reading.servedBy(word(node, 'traffic_type'), pointerTo(node, 'traffic_type'))
  reading.servedBy(...tierOf(node, body))
  return reading.finish()
}
