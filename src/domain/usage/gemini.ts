import type { Usage } from './normal-form.ts'
import { children, quantity, Reading, sumOfModalities, text, type Modality, type Node } from './reading.ts'

const TOTALS = ['promptTokenCount', 'candidatesTokenCount', 'totalTokenCount', 'responseTokenCount']

/** Usage metadata of Gemini, in the JSON's names or in those of its Python client (snake case). */
export function isGemini(node: Node): boolean {
  return TOTALS.some((name) => bothCases(name).some((written) => written in node.value))
}

/**
 * `promptTokenCount` includes what came from the cache; thoughts come on top of the candidates and are output; what
 * tools put into the prompt comes on top of it and is input. A count that is not there is 0.
 *
 * Source: GenerateContentResponseUsageMetadata and UsageMetadata of the @google/genai package.
 * @throws UsageError
 */
export function readGemini(node: Node): Usage {
  const reading = new Reading()
  const count = (name: string) => quantity(node, ...bothCases(name))
  reading.add('input_tokens', count('promptTokenCount'))
  reading.add('input_tokens', count('toolUsePromptTokenCount'))
  reading.add('cache_read_tokens', count('cachedContentTokenCount'))
  const prompt = [...modalities(node, 'promptTokensDetails'), ...modalities(node, 'toolUsePromptTokensDetails')]
  const cached = modalities(node, 'cacheTokensDetails')
  reading.addMedia(prompt, cached)

  reading.add('output_tokens', count('candidatesTokenCount') ?? count('responseTokenCount'))
  reading.add('output_tokens', count('thoughtsTokenCount'))
  reading.add('reasoning_tokens', count('thoughtsTokenCount'))
  const output = [...modalities(node, 'candidatesTokensDetails'), ...modalities(node, 'responseTokensDetails')]
  reading.add('audio_output_tokens', sumOfModalities(output, ['audio']))
  reading.add('image_output_tokens', sumOfModalities(output, ['image']))
  reading.add('video_output_tokens', sumOfModalities(output, ['video']))

  reading.servedBy(text(node, 'serviceTier') ?? text(node, 'service_tier') ?? tierOfTraffic(node))
  return reading.finish()
}

function modalities(node: Node, name: string): Modality[] {
  const written = bothCases(name).find((key) => key in node.value) ?? name
  return children(node, written).map((entry) => ({
    modality: text(entry, 'modality') ?? 'MODALITY_UNSPECIFIED',
    // A count of 0 is left out of the JSON.
    tokens: quantity(entry, ...bothCases('tokenCount')) ?? { count: 0, pointer: entry.pointer },
  }))
}

/** Vertex AI says by the kind of traffic what the Gemini API says by the tier. */
function tierOfTraffic(node: Node): string | undefined {
  const traffic = text(node, 'trafficType') ?? text(node, 'traffic_type')
  if (traffic === 'ON_DEMAND_PRIORITY') return 'priority'
  if (traffic === 'ON_DEMAND_FLEX') return 'flex'
  return undefined
}

function bothCases(camel: string): [string, string] {
  return [camel, camel.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)]
}
