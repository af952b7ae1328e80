import { STEP_QUANTITIES, type UsageStep } from '../normal-form.ts'
import { isClaude, type UsageSource } from '../source.ts'
import { readExtras } from '../reading/extras.ts'
import { speaksMessagesApi, type Form } from './form.ts'
import { child, children, has, quantity, requiredQuantity, word, type Node, type Quantity } from '../reading/node.ts'
import { Reading, sumOf } from '../reading/reading.ts'
import { isSumOf, spreadReasoning, usageStep } from '../reading/steps.ts'
import { tierOf } from '../reading/tier.ts'

/**
 * Usage of Anthropic's Messages API: from Claude, whichever provider serves it, and from other models with the same
 * API.
 *
 * `input_tokens` excludes the cache: reads and writes come on top. `output_tokens` includes thinking. The totals
 * exclude what a compaction used, so it is added, unless all iterations together add up to the totals. Other
 * iterations are in the totals. Stream deltas are cumulative: the last one is the usage.
 *
 * Source: Usage, MessageDeltaUsage and BetaUsage of the @anthropic-ai/sdk package. An advisor's tokens belong to
 * another model, so they are noted as unread: they need a record of their own.
 */
export const anthropic: Form = {
  name: "Anthropic's messages",
  hasShape: (node, source) =>
    has(node, 'input_tokens') &&
    !has(node, 'input_tokens_details', 'cached_input_tokens') &&
    (has(node, ...OWN_FIELDS) || (isClaude(source) && has(node, 'output_tokens_details'))),
  isSentBy: speaksMessagesApi,
  read: readMessage,
}

const OWN_FIELDS = [
  'cache_creation_input_tokens',
  'cache_read_input_tokens',
  'cache_creation',
  'server_tool_use',
  'inference_geo',
  'iterations',
  'speed',
  'fallback_credit',
]

function readMessage(node: Node, source: UsageSource, body: Node | undefined): Reading {
  const reading = new Reading()
  addMessageTokens(reading, node, source, body)
  const thinking = quantity(child(node, 'output_tokens_details'), 'thinking_tokens')
  readIterations(reading, node, source, thinking?.count ?? 0)
  reading.add('reasoning_tokens', thinking)
  checkTotalTokens(reading, node)
  readExtras(reading, node, source)
  // Fast mode has a price of its own, whatever tier the response names.
  if (word(node, 'speed') !== 'fast') reading.servedBy(...tierOf(node, body))
  return reading.finish()
}

function addMessageTokens(reading: Reading, node: Node, source: UsageSource, body: Node | undefined): void {
  const reads = quantity(node, 'cache_read_input_tokens')
  const total = quantity(node, 'cache_creation_input_tokens')
  const isDelta = word(body, 'type') === 'message_delta'
  const split = lifetimesOf(node)
  // The last delta of a stream has no split, so assume the one-hour rate, the higher one.
  const writes = reading.addCacheWrites(total, split ?? (isDelta ? { ttl1h: total } : {}))
  // Other models have one rate for all lifetimes.
  if (split === undefined && isClaude(source) && writes !== undefined && writes.count > 0) {
    const taken = isDelta ? 'one-hour' : 'five-minute'
    reading.noteAssumed(
      `${node.pointer}/cache_creation_input_tokens`,
      `is not split by time to live; priced as ${taken} writes. Send the accumulated message instead`,
    )
  }
  reading.add('input_tokens', requiredQuantity(node, 'input_tokens'), reads, writes)
  reading.add('cache_read_tokens', reads)
  reading.add('output_tokens', quantity(node, 'output_tokens'))
}

/**
 * Cache writes by lifetime, from the whole or from the iterations it sums up; undefined if neither gives the split.
 */
function lifetimesOf(node: Node): { ttl5m: Quantity | undefined; ttl1h: Quantity | undefined } | undefined {
  const whole = child(node, 'cache_creation')
  const parts = children(node, 'iterations').filter((one) => word(one, 'type') === typeInside(node))
  const splits = [whole === undefined ? parts.map((one) => child(one, 'cache_creation')) : whole].flat()
  if (splits.length === 0 || splits.includes(undefined)) return undefined
  const ttl5m = sumOf(...splits.map((one) => quantity(one, 'ephemeral_5m_input_tokens')))
  const ttl1h = sumOf(...splits.map((one) => quantity(one, 'ephemeral_1h_input_tokens')))
  return ttl5m === undefined && ttl1h === undefined ? undefined : { ttl5m, ttl1h }
}

/** The iterations that the totals exclude. */
const ON_TOP = 'compaction'
/** The type of the iterations that the totals sum up. After a fallback, earlier attempts belong to another model. */
function typeInside(node: Node): string {
  const types = children(node, 'iterations').map((one) => word(one, 'type'))
  return types.includes('fallback_message') ? 'fallback_message' : 'message'
}

/** Reads the iterations. Each is a request to the model, so the long-context threshold applies to each one. */
function readIterations(reading: Reading, node: Node, source: UsageSource, thinking: number): void {
  const inside: UsageStep[] = []
  const compactions: { one: Reading; step: UsageStep; pointer: string }[] = []
  const totals = usageStep(reading.usage)
  const insideType = typeInside(node)
  for (const iteration of children(node, 'iterations')) {
    const type = word(iteration, 'type')
    if (type !== ON_TOP && type !== insideType) continue
    const one = new Reading()
    addMessageTokens(one, iteration, source, undefined)
    one.finish()
    const step = usageStep(one.usage)
    if (type === ON_TOP) compactions.push({ one, step, pointer: iteration.pointer })
    else inside.push(step)
  }
  let onTop = compactions.map(({ step }) => step)
  if (compactions.length > 0 && isSumOf([...onTop, ...inside], totals)) {
    inside.unshift(...onTop)
    onTop = []
  } else {
    for (const { one, step, pointer } of compactions) {
      reading.notes.push(...one.notes)
      for (const name of STEP_QUANTITIES) {
        const count = step[name]
        if (count !== undefined) reading.add(name, { count, pointer })
      }
    }
    if (inside.length > 0 && !isSumOf(inside, totals)) {
      reading.noteDifference(`${node.pointer}/iterations`, 'do not add up to the totals; the totals were taken')
      inside.length = 0
    }
  }
  const steps = [...onTop, ...(inside.length === 0 ? [totals] : inside)]
  if (steps.length <= 1) return
  spreadReasoning(steps, thinking)
  reading.splitInto(steps)
}

function checkTotalTokens(reading: Reading, node: Node): void {
  const { input_tokens: input = 0, output_tokens: output = 0 } = reading.usage
  const { cache_read_tokens: reads = 0, cache_write_tokens: writes = 0 } = reading.usage
  reading.checkTotal(quantity(node, 'total_tokens'), input + output, input - reads - writes + output)
}
