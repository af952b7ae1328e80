import { STEP_QUANTITIES, type UsageStep } from '../normal-form.ts'
import { isClaude, type UsageSource } from '../source.ts'
import { readExtras } from './extras.ts'
import { speaksMessagesApi, type Form } from './form.ts'
import { child, children, has, quantity, requiredQuantity, word, type Node } from './node.ts'
import { tierOf } from './openai-chat.ts'
import { Reading } from './reading.ts'
import { addSteps, spreadReasoning, stepOf } from './steps.ts'

/**
 * Usage of Anthropic's Messages API: Claude's, wherever it is served, and of others who speak it.
 *
 * `input_tokens` is without the cache: reads and writes come on top. `output_tokens` includes thinking. What a compaction used is
 * not in the totals and is added; all other iterations are in them. Stream deltas are cumulative: the last one is the usage.
 *
 * Source: Usage, MessageDeltaUsage and BetaUsage of the @anthropic-ai/sdk package. The tokens of an advisor are another
 * model's, so they are named as unread: they are a record of their own.
 */
export const anthropic: Form = {
  name: "Anthropic's messages",
  hasShape: (node, source) =>
    has(node, 'input_tokens') &&
    !has(node, 'input_tokens_details', 'cached_input_tokens') &&
    (has(node, ...OWN_FIELDS) || (isClaude(source) && has(node, 'output_tokens_details'))),
  isSentBy: speaksMessagesApi,
  read,
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

function read(node: Node, source: UsageSource, body: Node | undefined): Reading {
  const reading = new Reading()
  addTokens(reading, node, body)
  const thinking = quantity(child(node, 'output_tokens_details'), 'thinking_tokens')
  readIterations(reading, node, thinking?.count ?? 0)
  reading.add('reasoning_tokens', thinking)
  readTotal(reading, node)
  readExtras(reading, node, source)
  // Fast mode is a price of its own, whatever the tier is called.
  if (word(node, 'speed') === 'fast') reading.servedBy('fast', `${node.pointer}/speed`)
  else reading.servedBy(...tierOf(node, body))
  reading.servedIn(word(node, 'inference_geo'), `${node.pointer}/inference_geo`)
  return reading.finish()
}

function addTokens(reading: Reading, node: Node, body: Node | undefined): void {
  const reads = quantity(node, 'cache_read_input_tokens')
  const split = child(node, 'cache_creation')
  const total = quantity(node, 'cache_creation_input_tokens')
  const isDelta = word(body, 'type') === 'message_delta'
  const writes = reading.cacheWrites(total, {
    ttl5m: quantity(split, 'ephemeral_5m_input_tokens'),
    // The end of a stream does not say how long they live; the dearer it may be.
    ttl1h: split === undefined && isDelta ? total : quantity(split, 'ephemeral_1h_input_tokens'),
  })
  if (split === undefined && writes !== undefined && writes.count > 0) {
    const taken = isDelta ? 'one-hour' : 'five-minute'
    reading.unread(
      `${node.pointer}/cache_creation_input_tokens`,
      `is not split by time to live; priced as ${taken} writes. Send the accumulated message instead`,
    )
  }
  reading.add('input_tokens', requiredQuantity(node, 'input_tokens'), reads, writes)
  reading.add('cache_read_tokens', reads)
  reading.add('output_tokens', quantity(node, 'output_tokens'))
}

/** Iterations that are billed apart from the totals. */
const ON_TOP = 'compaction'
/** Iterations whose sum the totals are. */
const INSIDE: ReadonlySet<string> = new Set(['message', 'fallback_message'])

/** Each iteration is a request of its own to the model, so each is held to a long context's threshold by itself. */
function readIterations(reading: Reading, node: Node, thinking: number): void {
  const inside: UsageStep[] = []
  const onTop: UsageStep[] = []
  const totals = stepOf(reading.usage)
  for (const iteration of children(node, 'iterations')) {
    const type = word(iteration, 'type') ?? ''
    if (type !== ON_TOP && !INSIDE.has(type)) continue
    const one = new Reading()
    addTokens(one, iteration, undefined)
    ;(type === ON_TOP ? onTop : inside).push(stepOf(one.usage))
    reading.notes.push(...one.notes)
    if (type === ON_TOP) {
      for (const name of STEP_QUANTITIES) {
        const count = one.usage[name]
        if (count !== undefined) reading.add(name, { count, pointer: iteration.pointer })
      }
    }
  }
  const sum = inside.length === 0 ? totals : addSteps(inside)
  if (STEP_QUANTITIES.some((name) => (sum[name] ?? 0) !== (totals[name] ?? 0))) {
    reading.differs(`${node.pointer}/iterations`, 'do not add up to the totals; the totals were taken')
    inside.length = 0
  }
  const steps = [...onTop, ...(inside.length === 0 ? [totals] : inside)]
  if (steps.length <= 1) return
  spreadReasoning(steps, thinking)
  reading.splitInto(steps)
}

function readTotal(reading: Reading, node: Node): void {
  const { input_tokens: input = 0, output_tokens: output = 0 } = reading.usage
  const { cache_read_tokens: reads = 0, cache_write_tokens: writes = 0 } = reading.usage
  reading.rest(quantity(node, 'total_tokens'), input + output, input - reads - writes + output)
}
