import { isGrok, type UsageSource } from '../source.ts'
import { readExtras } from '../reading/extras.ts'
import { speaksResponsesApi, type Form } from './form.ts'
import {
  child,
  children,
  has,
  ignore,
  peek,
  quantity,
  requiredQuantity,
  type Node,
  type Quantity,
} from '../reading/node.ts'
import { readDetails } from '../reading/openai-details.ts'
import { Reading } from '../reading/reading.ts'
import { isSumOf, usageStep } from '../reading/steps.ts'
import { tierOf } from '../reading/tier.ts'

/**
 * Usage of OpenAI's Responses API, of its realtime, image and transcription APIs, and of Codex.
 *
 * `input_tokens` includes cache reads and writes, and `output_tokens` includes reasoning, unless the total shows that
 * they come on top. All output of an image model is images unless a detail says otherwise. Codex sums up the requests
 * of a turn and does not say how many; the Python Agents SDK lists them.
 *
 * Source: ResponseUsage, Response.ToolUsage, RealtimeResponseUsage, ImagesResponse.Usage and Transcription.Tokens of
 * the openai package; Usage of @openai/codex-sdk, and the token_count event of Codex; Usage of openai-agents.
 */
export const openAiResponses: Form = {
  name: "OpenAI's Responses API",
  hasShape: (node) =>
    has(node, 'input_tokens') && (has(node, ...CODEX) || (has(node, ...DETAILS) && !has(node, ...ANTHROPICS))),
  isSentBy: speaksResponsesApi,
  read: readResponse,
}

const DETAILS = ['input_tokens_details', 'input_token_details', 'output_tokens_details', 'output_token_details']
const CODEX = ['cached_input_tokens', 'reasoning_output_tokens']
const ANTHROPICS = ['cache_creation_input_tokens', 'cache_read_input_tokens', 'cache_creation', 'inference_geo']

function readResponse(node: Node, source: UsageSource, body: Node | undefined): Reading {
  const reading = new Reading()
  const inside = child(node, 'input_tokens_details') ?? child(node, 'input_token_details')
  const generated = child(node, 'output_tokens_details') ?? child(node, 'output_token_details')
  const input = requiredQuantity(node, 'input_tokens')
  const output = quantity(node, 'output_tokens')
  const reads = reading.largestOf(quantity(inside, 'cached_tokens'), quantity(node, 'cached_input_tokens'))
  const writes = readWrites(reading, node, inside)
  const reasoning = reading.largestOf(
    quantity(generated, 'reasoning_tokens'),
    quantity(node, 'reasoning_output_tokens'),
  )

  const total = quantity(node, 'total_tokens')
  reading.noteTotal(total, reading.addTokens({ input, output, reads, writes, reasoning, total }))
  const cached = (reads?.count ?? 0) + (writes?.count ?? 0)
  readDetails(reading, source, { inside, generated, input, output, reasoning, cached })

  // Codex's event has the usage of the last request, and of the whole session so far. Ignore the latter.
  ignore(body, 'total_token_usage')
  reading.isAggregate = has(node, ...CODEX) && !node.pointer.endsWith('/last_token_usage')
  readRequestEntries(reading, node, source)
  readExtras(reading, node, source)
  readTools(reading, body, source)
  reading.servedBy(...tierOf(node, body))
  return reading.finish()
}

/** Reads the requests of a run one by one, as the Python Agents SDK lists them. */
function readRequestEntries(reading: Reading, node: Node, source: UsageSource): void {
  const entries = children(node, 'request_usage_entries').map((entry) =>
    usageStep(readResponse(entry, source, undefined).usage),
  )
  if (entries.length === 0) return
  if (isSumOf(entries, usageStep(reading.usage))) reading.splitInto(entries)
  else reading.noteDifference(`${node.pointer}/request_usage_entries`, 'do not add up to the totals')
}

function readWrites(reading: Reading, node: Node, inside: Node | undefined): Quantity | undefined {
  const writes = reading.largestOf(
    quantity(inside, 'cache_write_tokens'),
    quantity(node, 'cache_write_input_tokens'),
    quantity(node, 'cache_creation_input_tokens'),
  )
  const byTtl = child(inside, 'cache_write_tokens_details')
  reading.add('cache_write_tokens', writes)
  reading.add('cache_write_12h_tokens', quantity(byTtl, 'ttl_12h_tokens'))
  reading.checkPart(quantity(byTtl, 'ttl_30m_tokens'), writes)
  return writes
}

/**
 * Reads the body's `tool_usage`. Searches are billed by the piece. Images that a tool made are billed by another
 * model's rates, so they are noted.
 */
function readTools(reading: Reading, body: Node | undefined, source: UsageSource): void {
  const tools = peek(body, 'tool_usage')
  // xAI counts its searches beside the tokens.
  if (!isGrok(source)) reading.add('web_searches', quantity(peek(tools, 'web_search'), 'num_requests'))
  const images = peek(tools, 'image_gen')
  reading.noteUnpriced(quantity(images, 'total_tokens'))
  ignore(images, 'input_tokens', 'output_tokens', 'input_tokens_details', 'output_tokens_details')
  ignore(images, 'cached_tokens', 'cached_tokens_details')
}
