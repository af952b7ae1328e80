import { children, quantity, word, type Node, type Quantity } from './node.ts'
import type { Reading } from './reading.ts'

/** The tokens of one modality of a prompt or an answer. */
export type Modality = { modality: string; tokens: Quantity }

/** The modalities that count as each medium. Models read documents as images, and providers price them so. */
const MEDIA = [
  ['audio', ['audio']],
  ['image', ['image', 'document']],
  ['video', ['video']],
] as const

const KNOWN_MODALITIES: ReadonlySet<string> = new Set([
  'text',
  'modality_unspecified',
  ...MEDIA.flatMap(([, names]) => names),
])

/** Reads a list of tokens by modality. Gemini leaves out counts of 0. @throws UsageError */
export function modalities(node: Node, list: string, count: string): Modality[] {
  return children(node, list).map((one) => ({
    modality: word(one, 'modality') ?? 'text',
    tokens: quantity(one, count) ?? { count: 0, pointer: one.pointer },
  }))
}

/**
 * Splits audio, image or video tokens of the prompt into cached and uncached ones, because the two are parts of
 * different wholes. Add the prompt and its cached part first.
 *
 * If the provider does not say how much of the medium was cached, this assumes as little as the totals allow, because
 * uncached tokens cost more. Cached video has the general rate of cache reads.
 */
export function addMedium(
  reading: Reading,
  medium: 'audio' | 'image' | 'video',
  all: Quantity | undefined,
  cached: Quantity | undefined,
): void {
  const cachedField = medium === 'video' ? null : (`cache_read_${medium}_tokens` as const)
  if (all === undefined) {
    if (cached !== undefined && cached.count > 0 && cachedField !== null) reading.add(cachedField, cached)
    return
  }
  reading.checkPart(cached, all)
  const { input_tokens: input = 0, cache_read_tokens: reads = 0, cache_write_tokens: writes = 0 } = reading.usage
  const { audio_input_tokens: audio = 0, image_input_tokens: images = 0, video_input_tokens: video = 0 } = reading.usage
  const overlap = Math.max(0, all.count + audio + images + video + reads + writes - input)
  const fromCache = Math.min(cached?.count ?? Math.min(overlap, reads), all.count)
  // Cache writes have one rate, whatever the medium.
  const written = Math.min(Math.max(0, overlap - fromCache), writes, all.count - fromCache)
  reading.add(`${medium}_input_tokens`, { count: all.count - fromCache - written, pointer: all.pointer })
  if (fromCache > 0 && cachedField !== null) reading.add(cachedField, { ...(cached ?? all), count: fromCache })
}

/** Gemini's lists of modalities, each with the count that it splits. */
type ModalityLists = Record<'prompt' | 'tools' | 'cached' | 'output', { list: Modality[]; whole: Quantity | undefined }>

/** Adds the tokens of Gemini's counts that are not text. Add the counts themselves first. */
export function addModalities(reading: Reading, { prompt, tools, cached, output }: ModalityLists): void {
  for (const { list, whole } of [prompt, tools, cached, output]) checkModalities(reading, list, whole)
  addMedia(reading, [...prompt.list, ...tools.list], cached.list)
  reading.hasModalities = prompt.list.length > 0
  addOutputMedia(reading, output.list)
}

/** Adds the media of the prompt, from lists of modalities. */
function addMedia(reading: Reading, prompt: readonly Modality[], cached: readonly Modality[]): void {
  for (const [medium, names] of MEDIA) {
    const said = sumOfModalities(cached, names)
    const none = cached.length > 0 ? { count: 0, pointer: '' } : undefined
    addMedium(reading, medium, sumOfModalities(prompt, names), said ?? none)
  }
}

/** Adds the media of the output, from a list of modalities. */
function addOutputMedia(reading: Reading, generated: readonly Modality[]): void {
  for (const [medium, names] of MEDIA) reading.add(`${medium}_output_tokens`, sumOfModalities(generated, names))
}

/** Notes unknown modalities, which are priced as text, and a list whose sum is larger than its whole. */
function checkModalities(reading: Reading, list: readonly Modality[], whole: Quantity | undefined): void {
  const sum = list.reduce((all, { tokens }) => all + tokens.count, 0)
  const last = list.at(-1)
  if (last !== undefined && sum > (whole?.count ?? 0)) {
    const detail = `and the modalities before it add up to ${sum}, more than ${whole?.count ?? 0}`
    reading.noteDifference(last.tokens.pointer, detail)
  }
  for (const { modality, tokens } of list) {
    if (!KNOWN_MODALITIES.has(modality.toLowerCase()))
      reading.noteUnread(tokens.pointer, `is of an unknown modality, ${modality.slice(0, 40)}; priced as text`)
  }
}

/** The tokens of all entries with one of these modalities; undefined if there is no such entry. */
function sumOfModalities(list: readonly Modality[], names: readonly string[]): Quantity | undefined {
  const [first, ...others] = list.filter(({ modality }) => names.includes(modality.toLowerCase()))
  if (first === undefined) return undefined
  const count = others.reduce((sum, { tokens }) => sum + tokens.count, first.tokens.count)
  return { count, pointer: first.tokens.pointer }
}
