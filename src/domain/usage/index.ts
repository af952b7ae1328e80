import { isAnthropic, readAnthropic } from './anthropic.ts'
import { isBedrock, readBedrock } from './bedrock.ts'
import { isGeminiInteractions, readGeminiInteractions } from './gemini-interactions.ts'
import { isGemini, readGemini } from './gemini.ts'
import { checkUsage, USAGE_QUANTITIES, UsageError, type Usage } from './normal-form.ts'
import { isOpenAiChat, readOpenAiChat } from './openai-chat.ts'
import { isOpenAiResponses, readOpenAiResponses } from './openai-responses.ts'
import { child, isObject, text, type Node } from './reading.ts'
import { isVercel, readVercel } from './vercel.ts'

export { checkUsage, USAGE_QUANTITIES, UsageError, type Usage } from './normal-form.ts'

/**
 * The usage that a provider sent, in normal form.
 *
 * The form is recognised by its shape, not by the provider's name, since gateways answer for other models in OpenAI's.
 * Taken are the usage object itself, the body or the last stream event that carries it (then with the body's service
 * tier and web searches), and our own normal form. Nothing is counted twice. Unknown fields beside the known ones are
 * ignored: providers add some.
 * @throws UsageError with a pointer into what was sent.
 */
export function normalizeProviderUsage(raw: unknown): Usage {
  if (!isObject(raw)) throw new UsageError('', 'must be an object')
  const body: Node = { value: raw, pointer: '' }
  for (const { node, around } of candidates(body)) {
    const usage = read(node, around)
    if (usage !== undefined) return usage
  }
  throw new UsageError('', 'is not a usage object of a known form')
}

type Candidate = { node: Node; around: Node | undefined }

/** Where a usage may stand: the object itself, or under the names that bodies and stream events give it. */
function candidates(body: Node): Candidate[] {
  const found: Candidate[] = [{ node: body, around: undefined }]
  // A response, message or interaction inside a stream's event (response.completed, message_start, interaction.completed).
  const bodies = [body, ...['response', 'message', 'interaction', 'x_groq'].map((name) => peek(body, name))]
  for (const around of bodies) {
    if (around === undefined) continue
    // The total of all steps before that of the last one.
    for (const name of ['totalUsage', 'usage', 'usageMetadata', 'usage_metadata']) {
      const node = peek(around, name)
      if (node !== undefined) found.push({ node, around })
    }
  }
  return found
}

function read(node: Node, around: Node | undefined): Usage | undefined {
  const serviceTier = text(node, 'service_tier') ?? text(around, 'service_tier')
  // From the most particular to the most general: OpenAI's field names are a part of others'.
  if (isGemini(node)) return readGemini(node)
  if (isGeminiInteractions(node)) return readGeminiInteractions(node, serviceTier)
  if (isOpenAiChat(node)) return readOpenAiChat(node, serviceTier)
  if (isNormalForm(node)) return checkUsage(node.value, node.pointer)
  if (isAnthropic(node)) return readAnthropic(node, serviceTier)
  if (isOpenAiResponses(node)) return readOpenAiResponses(node, serviceTier, around && child(around, 'tool_usage'))
  if (isBedrock(node)) return readBedrock(node)
  if (isVercel(node)) return readVercel(node)
  return undefined
}

/** Ours, told from others' that also write `input_tokens` by a quantity that only we name so. */
function isNormalForm(node: Node): boolean {
  const ours = USAGE_QUANTITIES.filter((name) => name !== 'input_tokens' && name !== 'output_tokens')
  return 'input_tokens' in node.value && ours.some((name) => name in node.value)
}

function peek(node: Node, name: string): Node | undefined {
  const value = node.value[name]
  return isObject(value) ? { value, pointer: `${node.pointer}/${name}` } : undefined
}
