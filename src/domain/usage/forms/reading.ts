import {
  checkParts,
  checkQuantity,
  isRegion,
  SEARCH_CONTEXTS,
  USAGE_STEPS_MAX,
  type Usage,
  type UsageQuantity,
  type UsageStep,
} from '../normal-form.ts'
import { isGoogles, type UsageSource } from '../source.ts'
import { children, quantity, word, type Node, type Quantity } from './node.ts'
import { servedTier } from './tier.ts'

/** What an answer has to say about a usage: a number that nothing used, or a total that its parts do not add up to. */
export type UsageNote = { code: 'usage_unread' | 'usage_total_differs'; pointer: string; detail: string }

/** Tokens of one modality of a prompt or an answer. */
export type Modality = { modality: string; tokens: Quantity }

/** The counts of a request, as most forms have them. */
export type TokenCounts = {
  input: Quantity
  output: Quantity | undefined
  reads: Quantity | undefined
  writes: Quantity | undefined
  reasoning: Quantity | undefined
  total: Quantity | undefined
}

/** A part of a whole, which a total may count inside of it or on top. */
type Part = { count: number; isOnTop: boolean; mayBeInside: boolean }

/**
 * Collects a usage in normal form, remembers where each field stood, so that an error names the provider's field, and notes
 * what does not fit together.
 */
export class Reading {
  readonly usage: Usage
  readonly notes: UsageNote[] = []
  readonly pointers: Partial<Record<UsageQuantity | 'service_tier' | 'region', string>> = {}
  /** Whether it may sum up several requests without saying how many. */
  isAggregate = false
  /** What the provider itself says that it cost, in USD; what it rounds may be off by `roundedUsd`. */
  saidUsd: (Quantity & { roundedUsd?: number }) | undefined

  constructor(usage: Usage = {}) {
    this.usage = usage
  }

  /** Adds what was found to a field; nothing where nothing was found. */
  add(field: UsageQuantity, ...all: (Quantity | undefined)[]): void {
    for (const found of all) {
      if (found === undefined) continue
      this.usage[field] = checkQuantity(found.pointer, (this.usage[field] ?? 0) + found.count)
      this.pointers[field] ??= found.pointer
    }
  }

  unread(pointer: string, detail: string): void {
    this.notes.push({ code: 'usage_unread', pointer, detail })
  }

  differs(pointer: string, detail: string): void {
    this.notes.push({ code: 'usage_total_differs', pointer, detail })
  }

  /** What several places say alike: the largest, noted where they differ. */
  oneOf(...all: (Quantity | undefined)[]): Quantity | undefined {
    const found = all.filter((one) => one !== undefined)
    const [first, ...others] = found
    if (first === undefined) return undefined
    for (const other of others) {
      if (other.count !== first.count)
        this.differs(other.pointer, `is ${other.count}, but ${first.pointer} says ${first.count}; the larger was taken`)
    }
    return found.reduce((largest, one) => (one.count > largest.count ? one : largest))
  }

  /** Notes a part that has the rate of its whole where it is more than the whole. */
  part(found: Quantity | undefined, whole: Quantity | undefined): void {
    if (found !== undefined && found.count > (whole?.count ?? 0))
      this.differs(found.pointer, `is ${found.count}, more than its whole of ${whole?.count ?? 0}`)
  }

  /** Notes what is left of a whole beside other parts, where it is none of the counts that it can be. */
  rest(found: Quantity | undefined, ...possible: number[]): void {
    if (found !== undefined && !possible.includes(found.count))
      this.differs(found.pointer, `is ${found.count}, but the other counts leave ${possible[0]}`)
  }

  /** Notes a quantity for which no price card has a rate. */
  unpriced(found: Quantity | undefined): void {
    if (found !== undefined && found.count > 0)
      this.unread(found.pointer, `counts ${found.count}, which has no price here`)
  }

  /** Cache writes by their time to live: the total, or the sum of the split where it is missing; both must agree. */
  cacheWrites(
    total: Quantity | undefined,
    split: { ttl5m?: Quantity | undefined; ttl1h?: Quantity | undefined },
  ): Quantity | undefined {
    const parts = [split.ttl5m, split.ttl1h].filter((one) => one !== undefined)
    const sum = parts.length === 0 ? undefined : { ...parts[0]!, count: parts.reduce((all, one) => all + one.count, 0) }
    // Some leave the total at 0 where they give the split.
    const writes = total === undefined || (total.count === 0 && sum !== undefined) ? sum : total
    if (sum !== undefined && writes !== undefined && parts.length === 2 && sum.count !== writes.count)
      this.differs(sum.pointer, `and the other lifetime add up to ${sum.count}, but ${writes.count} were written`)
    this.add('cache_write_tokens', writes)
    this.add('cache_write_1h_tokens', split.ttl1h)
    return writes
  }

  /**
   * Which parts come on top of their wholes: as they do by default, unless another reading adds up to the total.
   *
   * @param base the sum with all parts inside.
   * @param parts at most 4.
   * @returns for each part whether it is on top, and what the total has beyond the sum of that reading.
   */
  byTotal(total: Quantity | undefined, base: number, parts: readonly Part[]): { onTop: boolean[]; beyond: number } {
    const sumOf = (onTop: readonly boolean[]) =>
      parts.reduce((sum, { count }, index) => sum + (onTop[index] ? count : 0), base)
    const usual = parts.map(({ isOnTop }) => isOnTop)
    if (total === undefined) return { onTop: usual, beyond: 0 }
    for (let others = 0; others < 1 << parts.length; others += 1) {
      const onTop = usual.map((isOnTop, index) => isOnTop !== Boolean(others & (1 << index)))
      const isPossible = parts.every(({ mayBeInside }, index) => onTop[index] || mayBeInside)
      if (isPossible && sumOf(onTop) === total.count) return { onTop, beyond: 0 }
    }
    return { onTop: usual, beyond: total.count - sumOf(usual) }
  }

  /**
   * Prompt and answer with what of them came from the cache, was written to it or was reasoned: inside as a rule, on top where
   * the total says so. The writes have to be added by their lifetimes as well.
   *
   * @param options `isReasoningOnTop`: what is not in the answer as a rule.
   * @returns what the total has beyond all of it.
   */
  addTokens(
    { input, output, reads, writes, reasoning, total }: TokenCounts,
    { isReasoningOnTop = false }: { isReasoningOnTop?: boolean } = {},
  ): number {
    const [written, thought] = [output?.count ?? 0, reasoning?.count ?? 0]
    const cached = (reads?.count ?? 0) + (writes?.count ?? 0)
    const { onTop, beyond } = this.byTotal(total, input.count + written, [
      { count: thought, isOnTop: isReasoningOnTop, mayBeInside: thought <= written },
      { count: cached, isOnTop: false, mayBeInside: cached <= input.count },
    ])
    this.add('input_tokens', input)
    if (onTop[1]) this.add('input_tokens', reads, writes)
    this.add('cache_read_tokens', reads)
    this.add('output_tokens', output)
    if (onTop[0]) this.add('output_tokens', reasoning)
    this.add('reasoning_tokens', reasoning)
    return beyond
  }

  /** What Google's total has beyond its parts is reasoning that its answer does not show; elsewhere such a total is noted. */
  hiddenReasoning(total: Quantity | undefined, beyond: number, source: UsageSource): void {
    if (total === undefined || beyond <= 0 || !isGoogles(source)) {
      this.totalDiffers(total, beyond)
      return
    }
    const hidden = { count: beyond, pointer: total.pointer }
    this.add('output_tokens', hidden)
    this.add('reasoning_tokens', hidden)
  }

  /** Notes a total that no reading adds up to. */
  totalDiffers(total: Quantity | undefined, beyond: number): void {
    if (total === undefined || beyond === 0) return
    this.differs(total.pointer, `is ${total.count}, but the parts add up to ${total.count - beyond}`)
  }

  /** The requests that the usage sums up; what is more than fits is told by their number alone. */
  splitInto(steps: UsageStep[]): void {
    if (steps.length <= USAGE_STEPS_MAX) this.usage.steps = steps
    else this.usage.requests = steps.length
  }

  /** The tier that served, by any provider's word for it. */
  servedBy(tier: string | undefined, pointer: string): void {
    const known = servedTier(tier)
    if (known === undefined) return
    this.usage.service_tier = known
    this.pointers.service_tier = pointer
  }

  /** The region that served; nothing where it is everywhere. */
  servedIn(region: string | undefined, pointer: string): void {
    if (region === undefined || region === 'global' || region === 'not_available') return
    if (!isRegion(region)) {
      this.unread(pointer, 'is no name of a region; priced without one')
      return
    }
    this.usage.region = region
    this.pointers.region = pointer
  }

  /** How much of the web was searched; nothing where no fee goes by that word. */
  searched(size: string | undefined): void {
    const known = SEARCH_CONTEXTS.find((one) => one === size)
    if (known !== undefined) this.usage.search_context = known
  }

  /**
   * Splits a medium (audio, images, video) of the prompt into what came from the cache and what did not, since the two are
   * parts of different wholes.
   *
   * Where the provider does not say how much of it was cached, as little is assumed as the totals allow: uncached is
   * the dearer one. Video from the cache has the rate of all that comes from there.
   */
  addMedium(medium: 'audio' | 'image' | 'video', all: Quantity | undefined, cached: Quantity | undefined): void {
    if (all === undefined) {
      if (cached !== undefined && cached.count > 0 && medium !== 'video')
        this.add(`cache_read_${medium}_tokens`, cached)
      return
    }
    const { input_tokens: input = 0, cache_read_tokens: reads = 0, cache_write_tokens: writes = 0 } = this.usage
    const { audio_input_tokens: audio = 0, image_input_tokens: images = 0, video_input_tokens: video = 0 } = this.usage
    const otherMedia = audio + images + video
    const overlap = Math.max(0, all.count + otherMedia + reads + writes - input)
    if (cached !== undefined) this.part(cached, all)
    const fromCache = Math.min(cached?.count ?? Math.min(overlap, reads), all.count)
    this.add(`${medium}_input_tokens`, { count: all.count - fromCache, pointer: all.pointer })
    if (fromCache > 0 && medium !== 'video')
      this.add(`cache_read_${medium}_tokens`, { count: fromCache, pointer: (cached ?? all).pointer })
  }

  /** The same for lists of modalities. Documents are read as images and priced so. */
  addMedia(prompt: readonly Modality[], cached: readonly Modality[]): void {
    for (const [medium, names] of MEDIA) {
      const said = sumOfModalities(cached, names)
      const none = cached.length > 0 ? { count: 0, pointer: '' } : undefined
      this.addMedium(medium, sumOfModalities(prompt, names), said ?? none)
    }
  }

  /** Tokens of what was generated, by modality. */
  addOutputMedia(generated: readonly Modality[]): void {
    this.add('audio_output_tokens', sumOfModalities(generated, ['audio']))
    this.add('image_output_tokens', sumOfModalities(generated, ['image', 'document']))
    this.add('video_output_tokens', sumOfModalities(generated, ['video']))
  }

  /** Notes modalities that nobody knows, which have the rate of text, and lists that come to more than their whole. */
  checkModalities(list: readonly Modality[], whole: Quantity | undefined): void {
    const sum = list.reduce((all, { tokens }) => all + tokens.count, 0)
    const last = list.at(-1)
    if (last !== undefined && sum > (whole?.count ?? 0))
      this.differs(last.tokens.pointer, `and the modalities before it add up to ${sum}, more than ${whole?.count ?? 0}`)
    for (const { modality, tokens } of list) {
      if (!KNOWN_MODALITIES.has(modality.toLowerCase()))
        this.unread(tokens.pointer, `is of an unknown modality, ${modality.slice(0, 40)}; priced as text`)
    }
  }

  /** What was collected. @throws UsageError when a part is larger than its whole. */
  finish(): this {
    checkParts(this.usage, this.pointers)
    return this
  }
}

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

/** A list of tokens by modality. A count of 0 is left out of the JSON. @throws UsageError */
export function modalities(node: Node, list: string, count: string): Modality[] {
  return children(node, list).map((entry) => ({
    modality: word(entry, 'modality') ?? 'text',
    tokens: quantity(entry, count) ?? { count: 0, pointer: entry.pointer },
  }))
}

/** The tokens of all entries of the given modalities; undefined where there is no such entry. */
function sumOfModalities(list: readonly Modality[], names: readonly string[]): Quantity | undefined {
  const [first, ...others] = list.filter(({ modality }) => names.includes(modality.toLowerCase()))
  if (first === undefined) return undefined
  const count = others.reduce((sum, { tokens }) => sum + tokens.count, first.tokens.count)
  return { count, pointer: first.tokens.pointer }
}

/** Counts together, at the place of the first; undefined where there is none. @throws UsageError above the bound. */
export function sumOf(...all: (Quantity | undefined)[]): Quantity | undefined {
  const found = all.filter((one) => one !== undefined)
  const [first] = found
  if (first === undefined) return undefined
  return {
    ...first,
    count: checkQuantity(
      first.pointer,
      found.reduce((sum, { count }) => sum + count, 0),
    ),
  }
}
