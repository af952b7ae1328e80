import { isDeepResearch, isGrok, isSonar, type UsageSource } from '../source.ts'
import { child, figure, flag, ignore, peek, pointerTo, quantity, word, type Node } from './node.ts'
import { said, type Reading } from './reading.ts'

/**
 * Reads what providers send besides tokens in OpenAI's and Anthropic's forms: searches, fees, durations, and the cost
 * as the provider computed it.
 */
export function readExtras(reading: Reading, node: Node, source: UsageSource): void {
  readSearches(reading, node, source)
  // OpenAI's Agents SDK counts the requests of a run.
  const requests = said(quantity(node, 'requests'))
  if (reading.usage.steps === undefined) reading.add('requests', requests)
  readSpeedAndRegion(reading, node)
  readSaidCost(reading, node)
  // Groq sends durations in seconds.
  ignore(node, 'queue_time', 'prompt_time', 'completion_time', 'total_time', 'dram_cached_tokens')
  // MiniMax counts the same text again, in characters.
  ignore(node, 'total_characters')
  // Mistral bills audio by its duration.
  reading.noteUnpriced(figure(node, 'prompt_audio_seconds'))
  if (isSonar(source)) readPerplexity(reading, node, source)
  if (isGrok(source)) readGrok(reading, node)
}

/** LiteLLM passes on Anthropic's fields for speed and region. */
function readSpeedAndRegion(reading: Reading, node: Node): void {
  if (word(node, 'speed') === 'fast') reading.servedBy('fast', pointerTo(node, 'speed'))
  reading.servedIn(word(node, 'inference_geo'), pointerTo(node, 'inference_geo'))
}

function readSearches(reading: Reading, node: Node, source: UsageSource): void {
  const used = child(node, 'server_tool_use')
  const details = child(node, 'server_tool_use_details')
  const grok = isGrok(source) ? child(node, 'server_side_tool_usage_details') : undefined
  reading.add(
    'web_searches',
    reading.largestOf(
      quantity(used, 'web_search_requests'),
      quantity(details, 'web_search_requests'),
      quantity(peek(node, 'prompt_tokens_details'), 'web_search_requests'),
    ),
    quantity(grok, 'web_search_calls'),
    quantity(grok, 'x_search_calls'),
  )
  // Fetched pages cost only their tokens, which are in the prompt. OpenRouter's tool calls are counted as searches
  // already.
  ignore(used, 'web_fetch_requests')
  ignore(details, 'tool_calls_requested', 'tool_calls_executed')
}

/**
 * Reads the cost that OpenRouter reports. Its credits are USD. If the caller brought its own key, the cost is what
 * was paid upstream.
 */
function readSaidCost(reading: Reading, node: Node): void {
  const details = peek(node, 'cost_details')
  const upstream = figure(details, 'upstream_inference_cost')
  ignore(details, 'upstream_inference_prompt_cost', 'upstream_inference_completions_cost')
  ignore(details, 'upstream_inference_input_cost', 'upstream_inference_output_cost')
  const cost = figure(node, 'cost')
  reading.reportedUsd = flag(node, 'is_byok') ? (upstream ?? cost) : cost
}

/**
 * Reads Perplexity's searches and cost. The fee of a request depends on its search context, and covers searches and
 * citations. Deep research has no such fee: it bills citations as input tokens, and each search. Its reasoning is
 * read with the tokens.
 *
 * Source: Perplexity's pricing page and API reference.
 */
function readPerplexity(reading: Reading, node: Node, source: UsageSource): void {
  reading.searched(word(node, 'search_context_size') ?? word(node, 'search_context'))
  noteSearchContext(reading, source, pointerTo(node, 'search_context_size'))
  const cost = peek(node, 'cost')
  if (cost !== undefined) {
    ignore(cost, 'input_tokens_cost', 'output_tokens_cost', 'citation_tokens_cost', 'reasoning_tokens_cost')
    ignore(cost, 'search_queries_cost', 'request_cost')
    const total = figure(cost, 'total_cost')
    if (total !== undefined) reading.reportedUsd = { ...total, roundedUsd: PERPLEXITY_ROUNDED_USD }
  }
  if (!isDeepResearch(source)) {
    ignore(node, 'num_search_queries', 'citation_tokens')
    return
  }
  reading.add('input_tokens', quantity(node, 'citation_tokens'))
  reading.add('web_searches', quantity(node, 'num_search_queries'))
}

/** Notes that Perplexity did not say how much was searched. Other providers of its models charge in other ways. */
export function noteSearchContext(reading: Reading, source: UsageSource, pointer: string): void {
  if (source.provider !== 'perplexity' || isDeepResearch(source) || reading.usage.search_context !== undefined) return
  reading.noteAssumed(pointer, 'is missing; the request has the fee of the largest search context')
}

/** Perplexity adds up five amounts, each rounded to a tenth of a cent, so its total may be off by this. */
const PERPLEXITY_ROUNDED_USD = 0.0025

/** Reads xAI's cost and tool calls. A tick is 1e-10 USD. Source: xAI's API reference. */
function readGrok(reading: Reading, node: Node): void {
  const ticks = figure(node, 'cost_in_usd_ticks')
  if (ticks !== undefined) reading.reportedUsd = { ...ticks, count: ticks.count / 1e10 }
  reading.noteUnpriced(quantity(node, 'num_sources_used'))
  const tools = child(node, 'server_side_tool_usage_details')
  for (const name of ['code_interpreter_calls', 'file_search_calls', 'mcp_calls', 'document_search_calls'])
    reading.noteUnpriced(quantity(tools, name))
  // This is the sum of the calls above, if those are given.
  if (tools === undefined) reading.noteUnpriced(quantity(node, 'num_server_side_tools_used'))
  else ignore(node, 'num_server_side_tools_used')
}
