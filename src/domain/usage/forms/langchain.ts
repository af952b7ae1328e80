import type { UsageSource } from '../source.ts'
import { anyone, type Form } from './form.ts'
import { child, has, ignore, peek, quantity, requiredQuantity, type Node, type Quantity } from '../reading/node.ts'
import { addMedium } from '../reading/media.ts'
import { Reading } from '../reading/reading.ts'
import { tierOf } from '../reading/tier.ts'

/**
 * Usage of LangChain's messages (`usage_metadata`).
 *
 * `input_tokens` includes cache reads and writes, for Anthropic too. `output_tokens` includes reasoning unless the
 * total shows that it comes on top. Under a service tier the details carry its name: `priority_cache_read`.
 *
 * Source: UsageMetadata of @langchain/core, and what langchain-anthropic, langchain-openai and
 * @langchain/google-genai fill in.
 */
export const langChain: Form = {
  name: "LangChain's usage_metadata",
  hasShape: (node) => has(node, 'input_tokens') && isLangChains(node),
  isSentBy: anyone,
  read: readLangChain,
}

/** Whether the details are LangChain's. OpenAI's realtime API has details of the same name, with other fields. */
function isLangChains(node: Node): boolean {
  const details = [peek(node, 'input_token_details'), peek(node, 'output_token_details')].filter(
    (one) => one !== undefined,
  )
  const names = details.flatMap(({ value }) => Object.keys(value))
  return details.length > 0 && names.every((name) => !/_tokens(_details)?$/.test(name) || name.startsWith('ephemeral_'))
}

function readLangChain(node: Node, source: UsageSource, body: Node | undefined): Reading {
  const reading = new Reading()
  const inside = child(node, 'input_token_details')
  const generated = child(node, 'output_token_details')
  const tier = (['priority', 'flex'] as const).find((name) => isOfTier(inside, name) || isOfTier(generated, name))
  const input = requiredQuantity(node, 'input_tokens')
  const output = quantity(node, 'output_tokens')
  const named = (details: Node | undefined, name: string): Quantity | undefined =>
    reading.largestOf(quantity(details, name), tier && quantity(details, `${tier}_${name}`))
  const reads = named(inside, 'cache_read')
  const reasoning = named(generated, 'reasoning')
  const writes = reading.addCacheWrites(quantity(inside, 'cache_creation'), {
    ttl5m: quantity(inside, 'ephemeral_5m_input_tokens'),
    ttl1h: quantity(inside, 'ephemeral_1h_input_tokens'),
  })
  const total = quantity(node, 'total_tokens')
  const beyond = reading.addTokens({ input, output, reads, writes, reasoning, total })
  reading.addUnexplained(total, beyond, source)
  for (const medium of ['audio', 'image', 'video'] as const)
    addMedium(reading, medium, quantity(inside, medium), undefined)
  reading.add('audio_output_tokens', quantity(generated, 'audio'))
  reading.addImageOutput(source, quantity(generated, 'image'), quantity(generated, 'text'))
  reading.checkPart(quantity(inside, 'text'), input)
  reading.checkPart(quantity(inside, 'document'), input)
  reading.checkPart(quantity(generated, 'text'), output)
  if (tier !== undefined) {
    // The tier's own count is what is neither cached nor reasoning.
    reading.checkPart(quantity(inside, tier), input)
    reading.checkPart(quantity(generated, tier), output)
    reading.servedBy(tier, node.pointer)
  }
  reading.servedBy(...tierOf(node, body))
  // Tokens above the long-context threshold: our rate card knows the threshold itself.
  ignore(inside, 'over_200k', 'cache_read_over_200k')
  return reading.finish()
}

function isOfTier(details: Node | undefined, tier: string): boolean {
  return (
    details !== undefined && Object.keys(details.value).some((name) => name === tier || name.startsWith(`${tier}_`))
  )
}
