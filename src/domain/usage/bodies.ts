import { isObject } from '../is-object.ts'
import { entry, has, ignore, peek, type Node } from './reading/node.ts'
import type { UsageSource } from './source.ts'

/** An object that may be a usage, and the body around it. `note`: what to say of it where it is read. */
export type Candidate = { node: Node; body: Node | undefined; note?: string | undefined }

/** Where a usage may stand: the object itself, or under the names that bodies and stream events give it. */
export function* candidates(root: Node, source: UsageSource): Generator<Candidate> {
  yield { node: root, body: undefined }
  for (const body of bodiesOf(root)) {
    // The result of a session has an entry for each model; the usage beside them covers the main model only.
    const share = shareOf(peek(body, 'modelUsage'), source)
    if (share !== undefined) {
      ignore(body, 'usage')
      yield { ...share, body }
    }
    // The total of all steps before that of the last one.
    for (const name of ['totalUsage', 'usage', 'usageMetadata', 'usage_metadata', 'last_token_usage']) {
      const node = peek(body, name)
      if (node !== undefined) yield { node, body }
    }
  }
}

const DATE = /[-@]\d{8}$/

/** The share of the model that answered, with or without its date; or the only one there is, noted where it is of another. */
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

/** A body, or a response, message, interaction or payload inside a stream's event. */
function* bodiesOf(root: Node): Generator<Node> {
  yield root
  for (const name of ['response', 'message', 'interaction', 'x_groq', 'info', 'metadata']) {
    const body = peek(root, name)
    if (body !== undefined) yield body
  }
  // Codex: event_msg > token_count > info.
  const info = peek(peek(root, 'payload'), 'info')
  if (info !== undefined) yield info
  // A line of a batch's results.
  for (const [outer, inner] of [
    ['response', 'body'],
    ['result', 'message'],
  ] as const) {
    const body = peek(peek(root, outer), inner)
    if (body !== undefined) yield body
  }
  // Moonshot: the last chunk of a stream.
  const choices = root.value['choices']
  const first: unknown = Array.isArray(choices) ? choices[0] : undefined
  if (isObject(first)) yield { ...root, value: first, pointer: '/choices/0' }
}

/** Whether a body is the answer in a line of a batch's results: of OpenAI, Anthropic, Gemini or Vertex. */
export function isBatchLine(root: Node, body: Node | undefined): boolean {
  if (body?.pointer === '/response') return has(body, 'usageMetadata') && has(root, 'key', 'processed_time')
  return has(root, 'custom_id') && (body?.pointer === '/response/body' || body?.pointer === '/result/message')
}
