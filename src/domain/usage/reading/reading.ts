import {
  checkParts,
  checkQuantity,
  checkSteps,
  isRegion,
  SEARCH_CONTEXTS,
  USAGE_STEPS_MAX,
  type Usage,
  type UsageQuantity,
  type UsageStep,
} from '../normal-form.ts'
import { isGoogles, isImageModel, mayMakeImages, type UsageSource } from '../source.ts'
import type { Quantity } from './node.ts'
import { servedTier } from './tier.ts'

/** What an answer has to say about a usage: a number that was not used, or counts that do not agree. */
export type UsageNote = {
  code: 'usage_unread' | 'usage_total_differs'
  pointer: string
  detail: string
  /** The number was read, and priced by an assumption. */
  isAssumed?: true
}

/** Of a number that no reader accounted for. */
export const NOT_KNOWN = 'is not known; nothing was priced for it'

/** The counts of a request, as most forms have them. */
export type TokenCounts = {
  input: Quantity | undefined
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
 * what does not agree.
 */
export class Reading {
  readonly usage: Usage
  readonly notes: UsageNote[] = []
  readonly pointers: Partial<Record<UsageQuantity | 'service_tier' | 'region', string>> = {}
  /** Whether it may sum up several requests without saying how many. */
  isAggregate = false
  /** Whether it says by modality what its prompt is. */
  hasModalities = false
  /** Whether its total is what its counts add up to. */
  isTotalled = false
  /** What the provider itself says that it cost, in USD; what it rounds may be off by `roundedUsd`. */
  reportedUsd: (Quantity & { roundedUsd?: number }) | undefined

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

  noteUnread(pointer: string, detail: string): void {
    this.notes.push({ code: 'usage_unread', pointer, detail })
  }

  /** Notes a number that was read, but does not say all that its price depends on; or the place where it should say it. */
  noteAssumed(pointer: string, detail: string): void {
    this.notes.push({ code: 'usage_unread', pointer, detail, isAssumed: true })
  }

  noteDifference(pointer: string, detail: string): void {
    this.notes.push({ code: 'usage_total_differs', pointer, detail })
  }

  /** Notes a quantity for which no price card has a rate. */
  noteUnpriced(found: Quantity | undefined): void {
    if (found !== undefined && found.count > 0)
      this.noteUnread(found.pointer, `counts ${found.count}, for which no price card has a rate`)
  }

  /**
   * Notes a total that no reading adds up to. Where no output is counted, what it has beyond the parts is priced as that. The
   * parts have to be added before.
   *
   * @param beyond what it has more than the parts.
   */
  noteTotal(total: Quantity | undefined, beyond: number): void {
    if (total === undefined || beyond === 0) return
    this.noteDifference(total.pointer, `is ${total.count}, but the parts add up to ${total.count - beyond}`)
    if (beyond > 0 && (this.usage.output_tokens ?? 0) === 0) this.add('output_tokens', { ...total, count: beyond })
  }

  /** The largest of counts that should be equal; notes a difference. */
  largestOf(...all: (Quantity | undefined)[]): Quantity | undefined {
    const found = all.filter((one) => one !== undefined)
    const [first, ...others] = found
    if (first === undefined) return undefined
    for (const { count, pointer } of others) {
      if (count !== first.count)
        this.noteDifference(pointer, `is ${count}, but ${first.pointer} says ${first.count}; the larger was taken`)
    }
    return found.reduce((largest, one) => (one.count > largest.count ? one : largest))
  }

  /** Notes a part without a rate of its own that is larger than its whole. */
  checkPart(found: Quantity | undefined, whole: Quantity | undefined): void {
    if (found !== undefined && found.count > (whole?.count ?? 0))
      this.noteDifference(found.pointer, `is ${found.count}, more than its whole of ${whole?.count ?? 0}`)
  }

  /** Notes a remainder (text tokens, uncached tokens) that equals none of the counts it may have. */
  checkRemainder(found: Quantity | undefined, ...possible: number[]): void {
    if (found !== undefined && !possible.includes(found.count))
      this.noteDifference(found.pointer, `is ${found.count}, but the other counts leave ${possible[0]}`)
  }

  /** Notes a total that equals none of the sums it may be; one without any part is priced as output. */
  checkTotal(total: Quantity | undefined, ...possible: number[]): void {
    if (total !== undefined && possible.every((sum) => sum === 0)) this.noteTotal(total, total.count)
    else this.checkRemainder(total, ...possible)
  }

  /** Adds cache writes by their time to live: the total, or the sum of the split where it is missing. Both must agree. */
  addCacheWrites(
    total: Quantity | undefined,
    { ttl5m, ttl1h }: { ttl5m?: Quantity | undefined; ttl1h?: Quantity | undefined },
  ): Quantity | undefined {
    const sum = sumOf(ttl5m, ttl1h)
    // Some leave the total at 0 where they give the split.
    const writes = total === undefined || (total.count === 0 && sum !== undefined) ? sum : total
    // What is not of an hour is of five minutes, but not the other way round.
    if (ttl5m !== undefined && writes !== undefined && sum?.count !== writes.count)
      this.noteDifference(
        ttl5m.pointer,
        `and the other lifetime add up to ${sum?.count}, but the usage has ${writes.count} cache writes`,
      )
    this.add('cache_write_tokens', writes)
    this.add('cache_write_1h_tokens', ttl1h)
    return writes
  }

  /**
   * Adds what of the output is images, and returns it: as a detail says. Where none does, it is all that an image model puts out,
   * and, with a note, all that a model does that may also write. Output and reasoning have to be added before.
   */
  addImageOutput(source: UsageSource, images: Quantity | undefined, text: Quantity | undefined): Quantity | undefined {
    let found = isImageModel(source) ? said(images) : images
    const { output_tokens: output = 0, reasoning_tokens: reasoning = 0 } = this.usage
    if (found === undefined && said(text) === undefined && output > reasoning) {
      const pointer = this.pointers.output_tokens ?? ''
      if (isImageModel(source) || mayMakeImages(source)) found = { count: output - reasoning, pointer }
      if (mayMakeImages(source))
        this.noteAssumed(pointer, 'does not say what of it is images; all of it is priced as images')
    }
    this.add('image_output_tokens', found)
    return found
  }

  /**
   * Decides which parts come on top of their wholes: as they do by default, unless another reading adds up to the total.
   *
   * @param base the sum with all parts inside.
   * @param parts at most 4.
   * @returns for each part whether it is on top, and what the total has beyond the sum of that reading.
   */
  byTotal(total: Quantity | undefined, base: number, parts: readonly Part[]): { onTop: boolean[]; beyond: number } {
    const sumWith = (onTop: readonly boolean[]) =>
      parts.reduce((sum, { count }, index) => sum + (onTop[index] ? count : 0), base)
    const usual = parts.map(({ isOnTop }) => isOnTop)
    if (total === undefined) return { onTop: usual, beyond: 0 }
    for (let others = 0; others < 1 << parts.length; others += 1) {
      const onTop = usual.map((isOnTop, index) => isOnTop !== Boolean(others & (1 << index)))
      const isPossible = parts.every(({ mayBeInside }, index) => onTop[index] || mayBeInside)
      if (!isPossible || sumWith(onTop) !== total.count) continue
      this.isTotalled = true
      return { onTop, beyond: 0 }
    }
    return { onTop: usual, beyond: total.count - sumWith(usual) }
  }

  /**
   * Adds prompt and answer, with what of them came from the cache, was written to it or was reasoned: inside as a rule, on top
   * where the total says so. The caller adds the writes by their lifetimes.
   *
   * @param options `isReasoningOnTop`: what is not in the answer as a rule.
   * @returns what the total has beyond all of it.
   */
  addTokens(
    { input, output, reads, writes, reasoning, total }: TokenCounts,
    { isReasoningOnTop = false }: { isReasoningOnTop?: boolean } = {},
  ): number {
    const [prompt, written, thought] = [input?.count ?? 0, output?.count ?? 0, reasoning?.count ?? 0]
    const cached = (reads?.count ?? 0) + (writes?.count ?? 0)
    const { onTop, beyond } = this.byTotal(total, prompt + written, [
      { count: thought, isOnTop: isReasoningOnTop || thought > written, mayBeInside: thought <= written },
      { count: cached, isOnTop: cached > prompt, mayBeInside: cached <= prompt },
    ])
    // A part that exceeds its whole must be on top. Without a total that confirms it, the provider may be wrong: warn.
    if (!isReasoningOnTop && thought > written && !this.isTotalled) this.checkPart(reasoning, output)
    if (cached > prompt && !this.isTotalled) this.checkPart(sumOf(reads, writes), input)
    this.add('input_tokens', input)
    if (onTop[1]) this.add('input_tokens', reads, writes)
    this.add('cache_read_tokens', reads)
    this.add('output_tokens', output)
    if (onTop[0]) this.add('output_tokens', reasoning)
    this.add('reasoning_tokens', reasoning)
    return beyond
  }

  /** What Google's total has beyond its parts is reasoning that the usage does not show; elsewhere such a total is noted. */
  addUnexplained(total: Quantity | undefined, beyond: number, source: UsageSource): void {
    if (total === undefined || beyond <= 0 || !isGoogles(source)) {
      this.noteTotal(total, beyond)
      return
    }
    const hidden = { count: beyond, pointer: total.pointer }
    this.add('output_tokens', hidden)
    this.add('reasoning_tokens', hidden)
  }

  /** Sets the requests that the usage sums up: each by itself, or only how many where there are more than can be kept. */
  splitInto(steps: UsageStep[]): void {
    this.usage.requests = steps.length
    if (steps.length <= USAGE_STEPS_MAX) this.usage.steps = steps
    else delete this.usage.steps
  }

  /** Sets the tier that served, by any provider's word for it. Another word wins over `standard`. */
  servedBy(tier: string | undefined, pointer: string): void {
    const known = servedTier(tier)
    if (known === undefined || (known === 'standard' && this.usage.service_tier !== undefined)) return
    this.usage.service_tier = known
    this.pointers.service_tier = pointer
  }

  /** Sets the region that served; nothing where it is everywhere. */
  servedIn(region: string | undefined, pointer: string): void {
    if (region === undefined || region === 'global' || region === 'not_available') return
    if (!isRegion(region)) {
      this.noteUnread(pointer, 'is no name of a region; priced without one')
      return
    }
    this.usage.region = region
    this.pointers.region = pointer
  }

  /** Sets how much of the web was searched; nothing where no fee depends on that word. */
  searched(size: string | undefined): void {
    const known = SEARCH_CONTEXTS.find((one) => one === size)
    if (known !== undefined) this.usage.search_context = known
  }

  /** @throws UsageError when a part is larger than its whole, or the steps do not add up to the usage. */
  finish(): this {
    checkParts(this.usage, this.pointers)
    if (this.usage.steps !== undefined) checkSteps(this.usage, this.usage.steps)
    return this
  }
}

/** A count that is not 0: some providers send 0 for an unknown count. */
export function said(found: Quantity | undefined): Quantity | undefined {
  return found?.count === 0 ? undefined : found
}

/** Counts together, at the place of the first; undefined where there is none. @throws UsageError above the bound. */
export function sumOf(...all: (Quantity | undefined)[]): Quantity | undefined {
  const found = all.filter((one) => one !== undefined)
  const [first] = found
  if (first === undefined) return undefined
  const sum = found.reduce((total, { count }) => total + count, 0)
  return { ...first, count: checkQuantity(first.pointer, sum) }
}
