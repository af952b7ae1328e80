import { isDeepStrictEqual } from 'node:util'
import { UsageError } from '../normal-form.ts'
import { isClaude, isGoogles, isGrok, type UsageSource } from '../source.ts'
import { anyone, type Form, type ReadInner } from './form.ts'
import {
  child,
  children,
  has,
  ignore,
  isObject,
  peek,
  quantity,
  requiredQuantity,
  type Node,
  type Quantity,
} from './node.ts'
import { Reading, type TokenCounts } from './reading.ts'
import { addUsage, stepOf } from './steps.ts'

/**
 * Usage of Vercel's AI SDK: versions 5 to 7, and the form between SDK and providers.
 *
 * `inputTokens` includes what came from the cache and what was written to it, `outputTokens` includes reasoning, unless the total
 * says otherwise. In version 5, which has no details, Google's and xAI's reasoning comes on top, and what Anthropic's and
 * Amazon's models read from the cache, too; what they wrote to it stands in `providerMetadata` alone.
 *
 * The provider's own usage (`raw`, or in `providerMetadata`) says more, and is read instead where both agree. `totalUsage` sums up
 * the steps of a call, each of them a request.
 *
 * Source: LanguageModelUsage of the ai package, LanguageModelV2Usage to LanguageModelV4Usage of @ai-sdk/provider, and what
 * @ai-sdk/anthropic 2, @ai-sdk/amazon-bedrock 3, @ai-sdk/google 2 and @ai-sdk/xai 2 put in.
 */
export const aiSdk: Form = {
  name: "Vercel's AI SDK",
  hasShape: (node) => has(node, 'inputTokens') && !OTHERS.test(Object.keys(node.value).join(' ')),
  isSentBy: anyone,
  read: (node, source, body, inner) => {
    const isTotal = body !== undefined && node.pointer === `${body.pointer}/totalUsage`
    if (!isTotal) return readOne(node, source, body, inner)
    const steps = children(body, 'steps').filter((step) => peek(step, 'usage') !== undefined)
    ignore(body, 'usage')
    if (steps.length > 1) return readSteps(node, steps, source, inner)
    const reading = readOne(node, source, body, inner)
    // The usage and the metadata beside it are the last step's.
    reading.isAggregate = steps.length === 0 && !isDeepStrictEqual(body.value['usage'], node.value)
    const ofLast = peek(body, 'providerMetadata')
    if (reading.isAggregate && ofLast !== undefined && has(ofLast, 'anthropic', 'bedrock'))
      reading.unread(
        ofLast.pointer,
        'is of the last step; send all steps, or what the others wrote to the cache is missing',
      )
    return reading
  },
}

/** Names that only Bedrock and the Claude Agent SDK write. */
const OTHERS = /\b(cacheReadInputTokens|cacheWriteInputTokens|cacheDetails|cacheCreationInputTokens|costUSD)/

function readOne(node: Node, source: UsageSource, body: Node | undefined, inner: ReadInner): Reading {
  const own = child(node, 'raw') ?? ownUsage(body)
  const theirs = own && readOwn(own, inner)
  const written = peek(peek(body, 'providerMetadata'), 'anthropic')
  const writes =
    theirs === undefined ? (quantity(written, 'cacheCreationInputTokens') ?? bedrockWrites(body)) : undefined
  const reading = isObject(node.value['inputTokens'])
    ? readInnerForm(node)
    : has(node, 'inputTokenDetails', 'outputTokenDetails')
      ? readDetailed(node)
      : readFlat(node, source, writes ?? countOf(theirs, own))
  if (own === undefined) return reading
  if (theirs === undefined) {
    reading.unread(own.pointer, "is the provider's own usage, which cannot be read")
    ignore(node, 'raw')
    return reading
  }
  const isSame = COMPARED.every((name) => (theirs.usage[name] ?? 0) === (reading.usage[name] ?? 0))
  if (isSame) {
    theirs.notes.push(...reading.notes)
    return theirs
  }
  reading.differs(own.pointer, "is the provider's own usage, with other counts; the SDK's were taken")
  return reading
}

const COMPARED = ['input_tokens', 'output_tokens', 'cache_read_tokens', 'cache_write_tokens'] as const

function countOf(theirs: Reading | undefined, own: Node | undefined): Quantity | undefined {
  const count = theirs?.usage.cache_write_tokens
  return count === undefined ? undefined : { count, pointer: own!.pointer }
}

/** Anthropic's usage object, which version 5 passes on as metadata. */
function ownUsage(body: Node | undefined): Node | undefined {
  return peek(peek(peek(body, 'providerMetadata'), 'anthropic'), 'usage')
}

function bedrockWrites(body: Node | undefined): Quantity | undefined {
  return quantity(peek(peek(peek(body, 'providerMetadata'), 'bedrock'), 'usage'), 'cacheWriteInputTokens')
}

function readOwn(own: Node, inner: ReadInner): Reading | undefined {
  try {
    return inner(own)
  } catch (error) {
    if (error instanceof UsageError) return undefined
    throw error
  }
}

/** Version 5. */
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
    reading.addTokens({ input, output, reads, writes, reasoning, total: undefined })
    reading.add('input_tokens', reads, writes)
    reading.rest(total, base, base + (reads?.count ?? 0), base + (reads?.count ?? 0) + (writes?.count ?? 0))
    return reading.finish()
  }
  const isReasoningOnTop = isGoogles(source) || isGrok(source)
  const beyond = reading.addTokens({ input, output, reads, writes, reasoning, total }, { isReasoningOnTop })
  if (beyond > 0 && total !== undefined && isGoogles(source)) reading.add('output_tokens', { ...total, count: beyond })
  reading.totalDiffers(total, beyond)
  return reading.finish()
}

/** Providers whose own form counts the cache on top of the input; gateways add it in. */
const NATIVE: ReadonlySet<string> = new Set(['anthropic', 'google', 'azure'])

/** Versions 6 and 7. */
function readDetailed(node: Node): Reading {
  const inside = child(node, 'inputTokenDetails')
  const generated = child(node, 'outputTokenDetails')
  const reading = new Reading()
  const counts = {
    input: requiredQuantity(node, 'inputTokens'),
    output: quantity(node, 'outputTokens'),
    reads: reading.oneOf(quantity(inside, 'cacheReadTokens'), quantity(node, 'cachedInputTokens')),
    writes: quantity(inside, 'cacheWriteTokens'),
    reasoning: reading.oneOf(quantity(generated, 'reasoningTokens'), quantity(node, 'reasoningTokens')),
    total: quantity(node, 'totalTokens'),
  }
  return fill(reading, counts, quantity(inside, 'noCacheTokens'), quantity(generated, 'textTokens'))
}

/** Between SDK and providers. */
function readInnerForm(node: Node): Reading {
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
  return fill(new Reading(), counts, quantity(input, 'noCache'), quantity(output, 'text'))
}

/** @param uncached what of the input is not cached. @param text what of the output is not reasoned. */
function fill(
  reading: Reading,
  counts: TokenCounts,
  uncached: Quantity | undefined,
  text: Quantity | undefined,
): Reading {
  const { input, output, reads, writes, reasoning, total } = counts
  reading.totalDiffers(total, reading.addTokens(counts))
  reading.add('cache_write_tokens', writes)
  reading.rest(uncached, input.count - (reads?.count ?? 0) - (writes?.count ?? 0), input.count)
  reading.rest(text, (output?.count ?? 0) - (reasoning?.count ?? 0), output?.count ?? 0)
  return reading.finish()
}

/** The steps of a call, each read by itself; the total of them all has to agree. */
function readSteps(total: Node, steps: Node[], source: UsageSource, inner: ReadInner): Reading {
  const readings = steps.map((step) => readOne(peek(step, 'usage')!, source, step, inner))
  const [reading, ...others] = readings as [Reading, ...Reading[]]
  const parts = readings.map(({ usage }) => stepOf(usage))
  for (const other of others) {
    addUsage(reading.usage, other.usage)
    reading.notes.push(...other.notes)
  }
  reading.splitInto(parts)
  const whole = readOne(total, source, undefined, inner)
  reading.notes.push(...whole.notes)
  // Version 5 has the writes to the cache in no total.
  const counted = ({ usage }: Reading) =>
    (usage.input_tokens ?? 0) - (usage.cache_write_tokens ?? 0) + (usage.output_tokens ?? 0)
  if (counted(whole) !== counted(reading))
    reading.differs(total.pointer, 'is not the sum of the steps; the steps were taken')
  return reading.finish()
}
