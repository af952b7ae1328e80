import type { UsageSource } from '../source.ts'
import { addMedium } from './media.ts'
import { child, quantity, type Node, type Quantity } from './node.ts'
import { said, type Reading } from './reading.ts'

type Details = {
  /** Details of the prompt and of the answer. */
  inside: Node | undefined
  generated: Node | undefined
  input: Quantity
  output: Quantity | undefined
  reasoning: Quantity | undefined
  /** Input tokens that were read from the cache or written to it. */
  cached: number
}

/**
 * Reads audio, image and video tokens from OpenAI's details, for both its chat and Responses forms, and checks the
 * text tokens against what they leave. @throws UsageError
 */
export function readDetails(reading: Reading, source: UsageSource, details: Details): void {
  const { inside, generated, input, output, reasoning, cached } = details
  const fromCache = child(inside, 'cached_tokens_details')
  let text = input.count
  for (const medium of ['audio', 'image', 'video'] as const) {
    const all = quantity(inside, `${medium}_tokens`)
    addMedium(reading, medium, all, quantity(fromCache, `${medium}_tokens`))
    text -= all?.count ?? 0
  }
  reading.checkPart(quantity(fromCache, 'text_tokens'), { count: cached, pointer: '' })
  // Some providers count cached tokens as text, some do not.
  reading.checkRemainder(said(quantity(inside, 'text_tokens')), text, text - cached)

  const audioOut = quantity(generated, 'audio_tokens')
  const textOut = said(quantity(generated, 'text_tokens'))
  const imageOut = reading.addImageOutput(source, quantity(generated, 'image_tokens'), textOut)
  reading.add('audio_output_tokens', audioOut)
  const rest = (output?.count ?? 0) - (audioOut?.count ?? 0) - (imageOut?.count ?? 0)
  reading.checkRemainder(textOut, rest, rest - (reasoning?.count ?? 0))
  reading.checkPart(quantity(generated, 'accepted_prediction_tokens'), output)
  reading.checkPart(quantity(generated, 'rejected_prediction_tokens'), output)
}
