import type { UsageSource } from '../source.ts'
import type { Node } from '../reading/node.ts'
import type { Reading } from '../reading/reading.ts'

/** Reads a usage object of any form. @throws UsageError */
export type ReadInner = (node: Node) => Reading

/** A form of usage objects. Its shape and the provider that sends it together identify it. */
export type Form = {
  /** The name for error messages, after "the form of". */
  name: string
  hasShape(node: Node, source: UsageSource, body: Node | undefined): boolean
  /** Whether this provider sends the form. */
  isSentBy(source: UsageSource): boolean
  /**
   * @param body the object that contains the usage object; undefined if the usage was sent alone.
   * @param inner reads a usage object inside this one.
   * @throws UsageError if the usage cannot be read.
   */
  read(node: Node, source: UsageSource, body: Node | undefined, inner: ReadInner): Reading
}

/** Providers with Anthropic's Messages API, for Claude or for models of their own. */
const MESSAGES_API: ReadonlySet<string> = new Set([
  'anthropic',
  'aws',
  'azure',
  'deepseek',
  'github-copilot',
  'google',
  'minimax',
  'moonshotai',
  'openrouter',
  'x-ai',
  'zai',
  'zhipuai',
])

export function speaksMessagesApi({ provider }: UsageSource): boolean {
  return MESSAGES_API.has(provider)
}

/**
 * Whether a provider may send OpenAI's Responses form. Many imitate it, but Anthropic and Google give the same names
 * another meaning.
 */
export function speaksResponsesApi({ provider }: UsageSource): boolean {
  return provider !== 'anthropic' && provider !== 'google'
}

export const anyone = (): boolean => true
