import type { UsageSource } from '../source.ts'
import type { Node } from '../reading/node.ts'
import type { Reading } from '../reading/reading.ts'

/** Reads an object in whatever form it is. @throws UsageError */
export type ReadInner = (node: Node) => Reading

/** A form in which usage objects come. It is claimed by its shape and by who sends it, both together. */
export type Form = {
  /** For a person, after "the form of". */
  name: string
  hasShape(node: Node, source: UsageSource, body: Node | undefined): boolean
  /** Whether this provider sends it. */
  isSentBy(source: UsageSource): boolean
  /**
   * @param body what the usage object stands in; undefined where it came alone.
   * @param inner reads a usage object that stands inside of this one.
   * @throws UsageError where it cannot be read.
   */
  read(node: Node, source: UsageSource, body: Node | undefined, inner: ReadInner): Reading
}

/** Providers that speak Anthropic's Messages API, for Claude or for models of their own. */
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

/** Many providers imitate OpenAI's Responses API. Anthropic and Google give the same names another meaning. */
export function speaksResponsesApi({ provider }: UsageSource): boolean {
  return provider !== 'anthropic' && provider !== 'google'
}

export const anyone = (): boolean => true
