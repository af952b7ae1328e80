import { isObject } from '../is-object.ts'
import { entry, has, ignore, peek, type Node } from './reading/node.ts'
import type { UsageSource } from './source.ts'

/**
 * An object that may be a usage, and the body around it. `note`: a warning to add if this object is the one that is
 * read.
 */
export type Candidate = { node: Node; body: Node | undefined; note?: string | undefined }

/**
 * Yields the places where a usage may be: the object itself, then the names that response bodies and stream events
 * use.
 */
export function* candidates(root: Node, source: UsageSource): Generator<Candidate> {
  yield { node: root, body: undefined }
  for (const body of bodiesOf(root)) {
    // A Claude Agent SDK result has one entry for each model. Its `usage` covers the main model only, so ignore that.
    const share = shareOf(peek(body, 'modelUsage'), source)
    if (share !== undefined) {
      ignore(body, 'usage')
      yield { ...share, body }
    }
    // `totalUsage` comes first: it sums up all steps, while `usage` is that of the last step.
    for (const name of ['totalUsage', 'usage', 'usageMetadata', 'usage_metadata', 'last_token_usage']) {
      const node = peek(body, name)
      if (node !== undefined) yield { node, body }
    }
  }
}

const DATE = /[-@]\d{8}$/

/**
 * The entry of the model that answered, with or without the date in its name. If the only entry is of another model,
 * it is used with a note.
 */
function shareOf(shares: Node | undefined, { model }: UsageSource): Pick<Candidate, 'node' | 'note'> | undefined {
  if (shares === undefined) return undefined
  const names = Object.keys(shares.value)
  const dated = names.filter((name) => name.replace(DATE, '') === model.replace(DATE, ''))
  const own = Object.hasOwn(shares.value, model) ? model : dated.length === 1 ? dated[0] : undefined
  const name = own ?? (names.length === 1 ? names[0] : undefined)
  if (name === undefined) return undefined
  const node = entry(shares, name)
  if (node === undefined || !has(node, 'inputTokens')) return undefined
  ignore(shares, name)
  return { node, note: own === undefined ? `is the share of another model; priced as ${model}` : undefined }
}

/** Yields the root and every body inside a stream event: response, message, interaction or payload. */
function* bodiesOf(root: Node): Generator<Node> {
  yield root
  for (const name of ['response', 'message', 'interaction', 'x_groq', 'info', 'metadata']) {
    const body = peek(root, name)
    if (body !== undefined) yield body
  }
  // Codex: event_msg > token_count > info.
  const info = peek(peek(root, 'payload'), 'info')
  if (info !== undefined) yield info
  // A line in the results file of a batch.
  for (const [outer, inner] of [
    ['response', 'body'],
    ['result', 'message'],
  ] as const) {
    const body = peek(peek(root, outer), inner)
    if (body !== undefined) yield body
  }
  // Moonshot puts the usage into the last chunk of a stream.
  const choices = root.value['choices']
  const first: unknown = Array.isArray(choices) ? choices[0] : undefined
  if (isObject(first)) yield { ...root, value: first, pointer: '/choices/0' }
}

/**
 * Whether a body is the answer inside a line of batch results, as OpenAI, Anthropic, Gemini and Vertex write them.
 */
export function isBatchLine(root: Node, body: Node | undefined): boolean {
  if (body?.pointer === '/response') return has(body, 'usageMetadata') && has(root, 'key', 'processed_time')
  return has(root, 'custom_id') && (body?.pointer === '/response/body' || body?.pointer === '/result/message')
}
