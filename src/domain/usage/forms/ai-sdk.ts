import { isDeepStrictEqual } from 'node:util'
import { isObject } from '../../is-object.ts'
import { UsageError, type UsageStep } from '../normal-form.ts'
import { isDeepResearch, type UsageSource } from '../source.ts'
import { readCounts } from './ai-sdk-counts.ts'
import { addStep } from './ai-sdk-steps.ts'
import { readLifetimes, readTierAndLatency } from './bedrock.ts'
import { noteSearchContext } from '../reading/extras.ts'
import { anyone, type Form, type ReadInner } from './form.ts'
import {
  child,
  children,
  has,
  ignore,
  peek,
  quantity,
  unreadOf,
  word,
  type Node,
  type Quantity,
} from '../reading/node.ts'
import { NOT_KNOWN, Reading } from '../reading/reading.ts'

/**
 * Usage of Vercel's AI SDK: versions 5 to 7, and the form that the SDK and its provider packages use between them.
 *
 * The provider's own usage (in `raw` or `providerMetadata`) has more details. It is used if it covers the same
 * requests, and if it adds up to its own total or agrees with the SDK's counts. The metadata also hold the served
 * tier and the cache writes. `totalUsage`, in version 7 `usage`, sums up the steps of a call; each step is a request.
 *
 * Source: LanguageModelUsage of the ai package, LanguageModelV2Usage to LanguageModelV4Usage of @ai-sdk/provider, and
 * what @ai-sdk/anthropic 2, @ai-sdk/amazon-bedrock 3, @ai-sdk/google 2, @ai-sdk/xai 2, @ai-sdk/openai and
 * @ai-sdk/perplexity fill in.
 */
export const aiSdk: Form = {
  name: "Vercel's AI SDK",
  hasShape: (node) => has(node, 'inputTokens') && !OTHERS.test(Object.keys(node.value).join(' ')),
  isSentBy: anyone,
  read: (node, source, body, inner) => {
    if (body === undefined) return readOne(node, source, body, inner)
    const isTotal = node.pointer === `${body.pointer}/totalUsage` || stepsOf(body).length > 0 || has(body, 'finalStep')
    return isTotal ? readTotalOfSteps(node, source, body, inner) : readOne(node, source, body, inner)
  },
}

/** Names that only Bedrock and the Claude Agent SDK use. */
const OTHERS = /\b(cacheReadInputTokens|cacheWriteInputTokens|cacheDetails|cacheCreationInputTokens|costUSD)/

/** The steps that have a usage; empty if `steps` is not a list of objects. */
function stepsOf(body: Node): Node[] {
  const { steps } = body.value
  if (!Array.isArray(steps) || !steps.every(isObject)) return []
  return children(body, 'steps').filter((step) => peek(step, 'usage') !== undefined)
}

function readTotalOfSteps(node: Node, source: UsageSource, body: Node, inner: ReadInner): Reading {
  // The body's `usage` and metadata belong to the last step. In version 7 `usage` is the total.
  ignore(body, 'usage')
  const steps = stepsOf(body)
  const split = steps.length === 0 ? null : readSteps(node, steps, source, body, inner)
  if (split !== null) return split
  const reading = readOne(node, source, body, inner)
  const last = node.pointer === `${body.pointer}/totalUsage` ? body : peek(body, 'finalStep')
  reading.isAggregate ||= !isDeepStrictEqual(last?.value['usage'], node.value)
  const metadata = peek(body, 'providerMetadata')
  if (reading.isAggregate && metadata !== undefined && has(metadata, 'anthropic', 'bedrock')) {
    const detail = 'covers the last step only: cache writes of the others may be missing. Send `steps`'
    reading.noteAssumed(metadata.pointer, detail)
  }
  return reading
}

/** Reads the steps of a call one by one and compares them with the total. Null if a step cannot be read. */
function readSteps(total: Node, steps: Node[], source: UsageSource, body: Node, inner: ReadInner): Reading | null {
  const reading = new Reading()
  const requests: UsageStep[] = []
  let count = 0
  for (const step of steps) {
    const usage = peek(step, 'usage')!
    const one = readOrNull(() => readOne(usage, source, step, inner))
    if (one === null) return null
    for (const pointer of unreadOf(usage)) one.noteUnread(pointer, NOT_KNOWN)
    addStep(reading, one, requests)
    count += one.usage.steps?.length ?? one.usage.requests ?? 1
  }
  if (count === requests.length) reading.splitInto(requests)
  // Some step stands for several requests and does not give their split.
  else reading.usage.requests = count
  const whole = readOne(total, source, undefined, inner)
  reading.notes.push(...whole.notes)
  // Version 5 includes cache writes in no total.
  const counted = ({ usage }: Reading) => [
    (usage.input_tokens ?? 0) - (usage.cache_write_tokens ?? 0) + (usage.output_tokens ?? 0),
    usage.cache_read_tokens ?? 0,
  ]
  // If version 5 has no total, its usage is that of the last step.
  const last = body.value['totalUsage'] === undefined ? peek(steps.at(-1), 'usage') : undefined
  if (!isDeepStrictEqual(counted(whole), counted(reading)) && !isDeepStrictEqual(last?.value, total.value))
    reading.noteDifference(total.pointer, 'is not the sum of the steps; the steps were taken')
  return reading.finish()
}

function readOne(node: Node, source: UsageSource, body: Node | undefined, inner: ReadInner): Reading {
  // Version 7 has the metadata in its final step.
  const metadata = peek(body, 'providerMetadata') ?? peek(peek(body, 'finalStep'), 'providerMetadata')
  const own = child(node, 'raw') ?? ownUsage(metadata)
  const theirs = own === undefined ? null : readOrNull(() => inner(own))
  const reading = readCounts(node, source, writesOf(theirs, own) ?? writesIn(metadata))
  if (own !== undefined && theirs === null) {
    reading.noteUnread(own.pointer, "is the provider's own usage, which cannot be read")
    ignore(node, 'raw')
  }
  const total = quantity(node, 'totalTokens')
  const chosen = own === undefined || theirs === null ? reading : chooseBetween(reading, theirs, own, total)
  readMetadata(chosen, metadata, source)
  return chosen.finish()
}

/** Uses the provider's own counts if they agree with their own total or with the SDK; else the SDK's, with a note. */
function chooseBetween(sdk: Reading, own: Reading, node: Node, total: Quantity | undefined): Reading {
  const isSame = COMPARED.every((name) => (own.usage[name] ?? 0) === (sdk.usage[name] ?? 0))
  // The SDK's counts sum up all steps of a call, but the metadata cover only the last one. `raw` covers the same
  // request as the SDK's counts.
  if (!node.pointer.endsWith('/raw') && sdk.isTotalled && sumOfTokens(sdk) > sumOfTokens(own)) {
    sdk.noteAssumed(node.pointer, "covers one request of several; the SDK's counts, which cover all, were taken")
    sdk.isAggregate = true
    return sdk
  }
  if (!isSame && !own.isTotalled) {
    sdk.noteDifference(node.pointer, "is the provider's own usage, with other counts; the SDK's were taken")
    return sdk
  }
  for (const pointer of unreadOf(node)) own.noteUnread(pointer, NOT_KNOWN)
  // The SDK's counts partly repeat the provider's. Its total has to match one or the other.
  const sum = sumOfTokens(own)
  own.notes.push(...sdk.notes.filter(({ pointer }) => isSame || (pointer === total?.pointer && total.count !== sum)))
  return own
}

const sumOfTokens = ({ usage }: Reading) => (usage.input_tokens ?? 0) + (usage.output_tokens ?? 0)

const COMPARED = ['input_tokens', 'output_tokens', 'cache_read_tokens', 'cache_write_tokens'] as const

/** The provider's usage object, which version 5 passes on in its metadata. */
function ownUsage(metadata: Node | undefined): Node | undefined {
  return peek(peek(metadata, 'anthropic'), 'usage') ?? peek(peek(metadata, 'google'), 'usageMetadata')
}

function writesOf(theirs: Reading | null, own: Node | undefined): Quantity | undefined {
  const count = theirs?.usage.cache_write_tokens
  return count === undefined ? undefined : { count, pointer: own!.pointer }
}

function writesIn(metadata: Node | undefined): Quantity | undefined {
  const anthropics = quantity(peek(metadata, 'anthropic'), 'cacheCreationInputTokens')
  return anthropics ?? quantity(bedrocksUsage(metadata), 'cacheWriteInputTokens')
}

function bedrocksUsage(metadata: Node | undefined): Node | undefined {
  return peek(peek(metadata, 'bedrock'), 'usage')
}

/**
 * Reads from the metadata: the served tier, the lifetimes of Bedrock's cache writes, and what Perplexity bills
 * besides tokens.
 */
function readMetadata(reading: Reading, metadata: Node | undefined, source: UsageSource): void {
  for (const provider of ['openai', 'azure', 'google', 'xai', 'groq']) {
    const served = peek(metadata, provider)
    reading.servedBy(word(served, 'serviceTier'), `${served?.pointer}/serviceTier`)
  }
  readTierAndLatency(reading, peek(metadata, 'bedrock'))
  if (reading.usage.cache_write_1h_tokens === undefined)
    reading.add('cache_write_1h_tokens', readLifetimes(reading, bedrocksUsage(metadata)).ttl1h)
  readPerplexityMetadata(reading, metadata, source)
}

function readPerplexityMetadata(reading: Reading, metadata: Node | undefined, source: UsageSource): void {
  noteSearchContext(reading, source, `${metadata?.pointer ?? ''}/perplexity`)
  if (!isDeepResearch(source) || reading.usage.web_searches !== undefined) return
  const research = peek(peek(metadata, 'perplexity'), 'usage')
  reading.add('input_tokens', quantity(research, 'citationTokens'))
  reading.add('web_searches', quantity(research, 'numSearchQueries'))
}

function readOrNull(read: () => Reading): Reading | null {
  try {
    return read()
  } catch (error) {
    if (error instanceof UsageError) return null
    throw error
  }
}
