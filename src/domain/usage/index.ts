import { candidates, isBatchLine, type Candidate } from './bodies.ts'
import { agentSdk } from './forms/agent-sdk.ts'
import { aiSdk } from './forms/ai-sdk.ts'
import { anthropic } from './forms/anthropic.ts'
import { bedrock } from './forms/bedrock.ts'
import type { Form } from './forms/form.ts'
import { geminiInteractions } from './forms/gemini-interactions.ts'
import { gemini } from './forms/gemini.ts'
import { langChain } from './forms/langchain.ts'
import { openAiChat } from './forms/openai-chat.ts'
import { openAiResponses } from './forms/openai-responses.ts'
import { plain } from './forms/plain.ts'
import { isObject } from '../is-object.ts'
import { rootNode, unreadOf, type Node } from './reading/node.ts'
import { NOT_KNOWN, Reading } from './reading/reading.ts'
import { tierOf } from './reading/tier.ts'
import { UsageError } from './normal-form.ts'
import type { UsageSource } from './source.ts'

export { checkUsage, USAGE_QUANTITIES, UsageError, type Usage } from './normal-form.ts'
export type { UsageSource } from './source.ts'
export { Reading }

/** Order matters: where two forms share field names, the more specific one must come first. */
export const FORMS: readonly Form[] = [
  gemini,
  geminiInteractions,
  openAiChat,
  langChain,
  anthropic,
  openAiResponses,
  plain,
  bedrock,
  agentSdk,
  aiSdk,
]

/**
 * Reads a provider's usage object into normal form, and notes each number that no reader used.
 *
 * Accepts the usage object alone, the response body or last stream event around it (then also reads the body's
 * service tier and web searches), and our own normal form. The shape and the provider together decide which form it
 * is. Every number is either used once, known to be part of a used one, known not to be a quantity, or noted.
 * @throws UsageError with a pointer into the object that was sent, if this provider sends no such form or the object
 * does not fit its form.
 */
export function readProviderUsage(raw: unknown, source: UsageSource): Reading {
  if (!isObject(raw)) throw new UsageError('', 'must be an object')
  const root = rootNode(raw)
  let unclaimed: UsageError | undefined
  for (const { node, body, note } of candidates(root, source)) {
    for (const form of FORMS) {
      if (!form.hasShape(node, source, body)) continue
      if (form.isSentBy(source)) return readBy(form, source, { node, body, note, root })
      unclaimed ??= new UsageError(
        node.pointer,
        `is in the form of ${form.name}, which ${source.provider} does not send`,
      )
    }
  }
  throw unclaimed ?? new UsageError('', 'is not a usage object of a known form')
}

/** Like readProviderUsage(), but answers null if the usage cannot be read. */
export function tryReadProviderUsage(raw: unknown, source: UsageSource): Reading | null {
  try {
    return readProviderUsage(raw, source)
  } catch (error) {
    if (error instanceof UsageError) return null
    throw error
  }
}

function readBy(form: Form, source: UsageSource, { node, body, note, root }: Candidate & { root: Node }): Reading {
  const reading = form.read(node, source, body, (inner) => readInner(inner, source))
  if (note !== undefined) reading.noteAssumed(node.pointer, note)
  // The answer inside a line of batch results says `default` or nothing about its tier, so set the tier here.
  if (isBatchLine(root, body)) reading.usage.service_tier = 'batch'
  else if (reading.usage.service_tier === undefined && body !== undefined) reading.servedBy(...tierOf(root, undefined))
  for (const pointer of [...unreadOf(node), ...unreadBeside(node, body)]) {
    reading.noteUnread(pointer, NOT_KNOWN)
  }
  return reading
}

/**
 * Pointers to unread numbers in the other usage fields of the body. The usage object itself has been checked already.
 */
function unreadBeside(node: Node, body: Node | undefined): string[] {
  if (body === undefined) return []
  const others = Object.entries(body.value).filter(([name, value]) => /usage/i.test(name) && value !== node.value)
  if (others.length === 0) return []
  const known = body.accounted.get(body.value)
  return unreadOf({ ...body, value: Object.fromEntries(others.filter(([name]) => !known?.has(name))) })
}

/** Reads the provider's own usage object that an SDK's usage contains. */
function readInner(node: Node, source: UsageSource): Reading {
  const form = FORMS.find((one) => one !== aiSdk && one.hasShape(node, source, undefined) && one.isSentBy(source))
  if (form === undefined) throw new UsageError(node.pointer, 'is not a usage object of a known form')
  return form.read(node, source, undefined, (deeper) => readInner(deeper, source))
}
