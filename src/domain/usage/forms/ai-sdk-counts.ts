import { isClaude, isGoogles, isGrok, type UsageSource } from '../source.ts'
import { isObject } from '../../is-object.ts'
import { child, has, quantity, requiredQuantity, type Node, type Quantity } from '../reading/node.ts'
import { Reading, type TokenCounts } from '../reading/reading.ts'

/**
 * Reads the AI SDK's own counts, of any version.
 *
 * `inputTokens` includes cache reads and writes, and `outputTokens` includes reasoning, unless the total shows
 * otherwise. Version 5 has no details. There, reasoning of Google's and xAI's models comes on top, and so do cache
 * reads of Anthropic's and Amazon's models.
 *
 * @param writes cache writes; version 5 has them in its metadata.
 * @throws UsageError
 */
export function readCounts(node: Node, source: UsageSource, writes: Quantity | undefined): Reading {
  const reading = isObject(node.value['inputTokens'])
    ? readInnerForm(node, source)
    : has(node, 'inputTokenDetails', 'outputTokenDetails')
      ? readDetailed(node, source)
      : readFlat(node, source, writes)
  return reading.finish()
}

/** Reads counts without details: version 5, and image models. */
function readFlat(node: Node, source: UsageSource, writes: Quantity | undefined): Reading {
  const reading = new Reading()
  const input = requiredQuantity(node, 'inputTokens')
  const output = quantity(node, 'outputTokens')
  const reads = quantity(node, 'cachedInputTokens')
  const reasoning = quantity(node, 'reasoningTokens')
  const total = quantity(node, 'totalTokens')
  reading.add('cache_write_tokens', writes)
  if (source.provider === 'aws' || (isClaude(source) && NATIVE.has(source.provider))) {
    const base = input.count + (output?.count ?? 0)
    reading.addTokens({ input, output, reads: undefined, writes: undefined, reasoning, total: undefined })
    reading.add('input_tokens', reads, writes)
    reading.add('cache_read_tokens', reads)
    const cached = (reads?.count ?? 0) + (writes?.count ?? 0)
    reading.checkTotal(total, base, base + (reads?.count ?? 0), base + cached)
    return reading
  }
  const isReasoningOnTop = isGoogles(source) || isGrok(source)
  const beyond = reading.addTokens({ input, output, reads, writes, reasoning, total }, { isReasoningOnTop })
  const isCounted = (reading.usage.output_tokens ?? 0) > 0
  reading.noteTotal(total, beyond)
  if (isCounted && beyond > 0 && isGoogles(source)) reading.add('output_tokens', { ...total!, count: beyond })
  reading.addImageOutput(source, undefined, undefined)
  return reading
}

/** Providers whose own form excludes the cache from the input. Gateways include it. */
const NATIVE: ReadonlySet<string> = new Set(['anthropic', 'google', 'azure'])

/** Reads counts with details: versions 6 and 7. */
function readDetailed(node: Node, source: UsageSource): Reading {
  const inside = child(node, 'inputTokenDetails')
  const generated = child(node, 'outputTokenDetails')
  const reading = new Reading()
  const counts = {
    input: requiredQuantity(node, 'inputTokens'),
    output: quantity(node, 'outputTokens'),
    reads: reading.largestOf(quantity(inside, 'cacheReadTokens'), quantity(node, 'cachedInputTokens')),
    writes: quantity(inside, 'cacheWriteTokens'),
    reasoning: reading.largestOf(quantity(generated, 'reasoningTokens'), quantity(node, 'reasoningTokens')),
    total: quantity(node, 'totalTokens'),
  }
  const rest = { uncached: quantity(inside, 'noCacheTokens'), text: quantity(generated, 'textTokens') }
  return addAll(reading, source, counts, rest)
}

/** Reads the form that the SDK and its provider packages use between them. */
function readInnerForm(node: Node, source: UsageSource): Reading {
  const input = child(node, 'inputTokens')!
  const output = child(node, 'outputTokens')
  const counts = {
    input: requiredQuantity(input, 'total'),
    output: quantity(output, 'total'),
    reads: quantity(input, 'cacheRead'),
    writes: quantity(input, 'cacheWrite'),
    reasoning: quantity(output, 'reasoning'),
    total: undefined,
  }
  const rest = { uncached: quantity(input, 'noCache'), text: quantity(output, 'text') }
  return addAll(new Reading(), source, counts, rest)
}

function addAll(
  reading: Reading,
  source: UsageSource,
  counts: TokenCounts,
  { uncached, text }: { uncached: Quantity | undefined; text: Quantity | undefined },
): Reading {
  const { input, output, reads, writes, reasoning, total } = counts
  reading.noteTotal(total, reading.addTokens(counts))
  reading.add('cache_write_tokens', writes)
  // What the SDK counts as text may be images.
  reading.addImageOutput(source, undefined, undefined)
  const prompt = input?.count ?? 0
  const written = output?.count ?? 0
  reading.checkRemainder(uncached, prompt - (reads?.count ?? 0) - (writes?.count ?? 0), prompt)
  reading.checkRemainder(text, written - (reasoning?.count ?? 0), written)
  return reading
}
