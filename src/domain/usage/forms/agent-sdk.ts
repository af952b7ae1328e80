import type { UsageSource } from '../source.ts'
import { speaksMessagesApi, type Form } from './form.ts'
import { figure, has, ignore, quantity, requiredQuantity, type Node } from '../reading/node.ts'
import { Reading } from '../reading/reading.ts'

/**
 * Usage of one model in a session: an entry of the Claude Agent SDK's `modelUsage`.
 *
 * `inputTokens` excludes the cache: reads and writes come on top. `outputTokens` includes thinking. The entry sums up
 * the requests of the session and does not say how many. Its context window and limit are not quantities.
 *
 * Source: ModelUsage of the @anthropic-ai/claude-agent-sdk package.
 */
export const agentSdk: Form = {
  name: "the Claude Agent SDK's modelUsage",
  hasShape: (node) => has(node, 'inputTokens') && has(node, 'cacheCreationInputTokens', 'costUSD', 'webSearchRequests'),
  isSentBy: speaksMessagesApi,
  read: readModelUsage,
}

function readModelUsage(node: Node, _source: UsageSource): Reading {
  const reading = new Reading()
  const reads = quantity(node, 'cacheReadInputTokens')
  const writes = reading.addCacheWrites(quantity(node, 'cacheCreationInputTokens'), {
    ttl1h: quantity(node, 'cacheCreationEphemeral1hInputTokens'),
  })
  // The two lifetimes may not add up to all writes: a response need not report them.
  reading.checkPart(quantity(node, 'cacheCreationEphemeral5mInputTokens'), writes)
  const output = quantity(node, 'outputTokens')
  reading.add('input_tokens', requiredQuantity(node, 'inputTokens'), reads, writes)
  reading.add('cache_read_tokens', reads)
  reading.add('output_tokens', output)
  reading.add('reasoning_tokens', quantity(node, 'thinkingTokens'))
  reading.add('web_searches', quantity(node, 'webSearchRequests'))
  reading.reportedUsd = figure(node, 'costUSD')
  reading.isAggregate = true
  ignore(node, 'contextWindow', 'maxOutputTokens')
  return reading.finish()
}
