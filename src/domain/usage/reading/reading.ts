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

/** A warning about a usage: a number that was not used, or counts that do not agree. */
export type UsageNote = {
  code: 'usage_unread' | 'usage_total_differs'
  pointer: string
  detail: string
  /** The number was read, and priced by an assumption. */
  isAssumed?: true
}

/** The note for a number that no reader accounted for. */
export const NOT_KNOWN = 'is not known; nothing was priced for it'

/** The counts of a request, in the terms that most forms share. */
export type TokenCounts = {
  input: Quantity | undefined
  output: Quantity | undefined
  reads: Quantity | undefined
  writes: Quantity | undefined
  reasoning: Quantity | undefined
  total: Quantity | undefined
}

/** A part of a whole. Providers differ in whether the whole includes it or it comes on top. */
type Part = { count: number; isOnTop: boolean; mayBeInside: boolean }

/**
 * Collects a usage in normal form. Remembers where each field came from, so that errors name the provider's field,
 * and collects notes about counts that do not agree.
 */
export class Reading {
  readonly usage: Usage
  readonly notes: UsageNote[] = []
  readonly pointers: Partial<Record<UsageQuantity | 'service_tier' | 'region', string>> = {}
  /** Whether the usage may sum up several requests without saying how many. */
  isAggregate = false
  /** Whether the usage splits its prompt by modality. */
  hasModalities = false
  /** Whether the provider's total equals the sum of its counts. */
  isTotalled = false
  /** The cost that the provider reports, in USD. `roundedUsd` is how far rounding may put it off. */
  reportedUsd: (Quantity & { roundedUsd?: number }) | undefined

  constructor(usage: Usage = {}) {
    this.usage = usage
  }

  /** Adds counts to a field. Undefined adds nothing. */
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

  /** Notes a number that does not say everything its price depends on, or the place where that is missing. */
  noteAssumed(pointer: string, detail: string): void {
    this.notes.push({ code: 'usage_unread', pointer, detail, isAssumed: true })
  }

  noteDifference(pointer: string, detail: string): void {
    this.notes.push({ code: 'usage_total_differs', pointer, detail })
  }

  /** Notes a quantity that no rate card has a rate for. */
  noteUnpriced(found: Quantity | undefined): void {
    if (found !== undefined && found.count > 0)
      this.noteUnread(found.pointer, `counts ${found.count}, for which no rate card has a rate`)
  }

  /**
   * Notes a total that the parts do not add up to. If no output is counted, the difference is priced as output. Add
   * the parts first.
   *
   * @param beyond by how much the total exceeds the parts.
   */
  noteTotal(total: Quantity | undefined, beyond: number): void {
    if (total === undefined || beyond === 0) return
    this.noteDifference(total.pointer, `is ${total.count}, but the parts add up to ${total.count - beyond}`)
    if (beyond > 0 && (this.usage.output_tokens ?? 0) === 0) this.add('output_tokens', { ...total, count: beyond })
  }

  /** Picks the largest of counts that should be equal, and notes a difference. */
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

  /** Checks a part that has no rate of its own: notes it if it is larger than its whole. */
  checkPart(found: Quantity | undefined, whole: Quantity | undefined): void {
    if (found !== undefined && found.count > (whole?.count ?? 0))
      this.noteDifference(found.pointer, `is ${found.count}, more than its whole of ${whole?.count ?? 0}`)
  }

  /** Checks a remainder, such as text or uncached tokens: notes it if it equals none of the possible counts. */
  checkRemainder(found: Quantity | undefined, ...possible: number[]): void {
    if (found !== undefined && !possible.includes(found.count))
      this.noteDifference(found.pointer, `is ${found.count}, but the other counts leave ${possible[0]}`)
  }

  /**
   * Checks a total: notes it if it equals none of the possible sums. A total without any part is priced as output.
   */
  checkTotal(total: Quantity | undefined, ...possible: number[]): void {
    if (total !== undefined && possible.every((sum) => sum === 0)) this.noteTotal(total, total.count)
    else this.checkRemainder(total, ...possible)
  }

  /**
   * Adds cache writes by lifetime: the total, or the sum of the split if there is no total. Notes a difference
   * between the two.
   */
  addCacheWrites(
    total: Quantity | undefined,
    { ttl5m, ttl1h }: { ttl5m?: Quantity | undefined; ttl1h?: Quantity | undefined },
  ): Quantity | undefined {
    const sum = sumOf(ttl5m, ttl1h)
    // Some providers send 0 as the total when they send the split.
    const writes = total === undefined || (total.count === 0 && sum !== undefined) ? sum : total
    // A missing five-minute count is the rest, but a missing one-hour count is not.
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
   * Adds the image tokens of the output and returns them. Uses the detail if there is one. Without one, all output of
   * an image model counts as images; so does that of a model that may write text too, with a note. Add output and
   * reasoning first.
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
   * Decides which parts come on top of their wholes: the default, unless another combination adds up to the total.
   *
   * @param base the sum if all parts are inside.
   * @param parts at most 4.
   * @returns for each part whether it is on top, and by how much the total exceeds the chosen sum.
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
   * Adds prompt and answer with their cache reads, cache writes and reasoning. By default those are inside, or on top
   * if the total shows that. The caller adds the writes by lifetime.
   *
   * @param options `isReasoningOnTop`: by default reasoning is not inside the answer.
   * @returns by how much the total exceeds all of it.
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
    // A part larger than its whole must be on top. Without a total that confirms it the provider may be wrong, so
    // warn.
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

  /**
   * Handles a total that exceeds its parts. For Google the rest is reasoning that the usage does not show; for others
   * it is noted.
   */
  addUnexplained(total: Quantity | undefined, beyond: number, source: UsageSource): void {
    if (total === undefined || beyond <= 0 || !isGoogles(source)) {
      this.noteTotal(total, beyond)
      return
    }
    const hidden = { count: beyond, pointer: total.pointer }
    this.add('output_tokens', hidden)
    this.add('reasoning_tokens', hidden)
  }

  /** Sets the requests that the usage sums up: each one, or only their number if there are more than can be kept. */
  splitInto(steps: UsageStep[]): void {
    this.usage.requests = steps.length
    if (steps.length <= USAGE_STEPS_MAX) this.usage.steps = steps
    else delete this.usage.steps
  }

  /** Sets the served tier from any provider's word for it. `standard` does not replace another tier. */
  servedBy(tier: string | undefined, pointer: string): void {
    const known = servedTier(tier)
    if (known === undefined || (known === 'standard' && this.usage.service_tier !== undefined)) return
    this.usage.service_tier = known
    this.pointers.service_tier = pointer
  }

  /** Sets the served region; does nothing for a global one. */
  servedIn(region: string | undefined, pointer: string): void {
    if (region === undefined || region === 'global' || region === 'not_available') return
    if (!isRegion(region)) {
      this.noteUnread(pointer, 'is no name of a region; priced without one')
      return
    }
    this.usage.region = region
    this.pointers.region = pointer
  }

  /** Sets the search context; does nothing for a word that no fee depends on. */
  searched(size: string | undefined): void {
    const known = SEARCH_CONTEXTS.find((one) => one === size)
    if (known !== undefined) this.usage.search_context = known
  }

  /**
   * Checks the finished usage.
   *
   * @throws UsageError if a part is larger than its whole, or if the steps do not add up to the usage.
   */
  finish(): this {
    checkParts(this.usage, this.pointers)
    if (this.usage.steps !== undefined) checkSteps(this.usage, this.usage.steps)
    return this
  }
}

/** The count, unless it is 0: some providers send 0 for an unknown count. */
export function said(found: Quantity | undefined): Quantity | undefined {
  return found?.count === 0 ? undefined : found
}

/**
 * The sum of counts, with the pointer of the first; undefined if there is none. @throws UsageError above the bound.
 */
export function sumOf(...all: (Quantity | undefined)[]): Quantity | undefined {
  const found = all.filter((one) => one !== undefined)
  const [first] = found
  if (first === undefined) return undefined
  const sum = found.reduce((total, { count }) => total + count, 0)
  return { ...first, count: checkQuantity(first.pointer, sum) }
}
