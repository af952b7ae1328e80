import { checkParts, checkQuantity, UsageError, type Usage, type UsageQuantity } from './normal-form.ts'

/** An object inside what a provider sent, and the JSON pointer to it. */
export type Node = { value: Record<string, unknown>; pointer: string }

/** The object under a name; undefined where there is none, or null. @throws UsageError where something else stands. */
export function child(node: Node, name: string): Node | undefined {
  const value = node.value[name]
  if (value === undefined || value === null) return undefined
  const pointer = `${node.pointer}/${name}`
  if (!isObject(value)) throw new UsageError(pointer, 'must be an object')
  return { value, pointer }
}

/** The objects of a list under a name; empty where there is none, or null. @throws UsageError where something else stands. */
export function children(node: Node, name: string): Node[] {
  const list = node.value[name]
  if (list === undefined || list === null) return []
  const pointer = `${node.pointer}/${name}`
  if (!Array.isArray(list)) throw new UsageError(pointer, 'must be an array')
  return list.map((value: unknown, index) => {
    if (!isObject(value)) throw new UsageError(`${pointer}/${index}`, 'must be an object')
    return { value, pointer: `${pointer}/${index}` }
  })
}

/** A quantity that may be left out or null. */
export type Quantity = { count: number; pointer: string }

/** The first of the names that is there. Null counts as left out. @throws UsageError for what is not a quantity. */
export function quantity(node: Node | undefined, ...names: string[]): Quantity | undefined {
  if (node === undefined) return undefined
  for (const name of names) {
    const value = node.value[name]
    if (value === undefined || value === null) continue
    const pointer = `${node.pointer}/${name}`
    return { count: checkQuantity(pointer, value), pointer }
  }
  return undefined
}

/** @throws UsageError where none of the names is there. */
export function requiredQuantity(node: Node, ...names: string[]): Quantity {
  const found = quantity(node, ...names)
  if (found === undefined) throw new UsageError(`${node.pointer}/${names[0]}`, 'is missing')
  return found
}

/** A text that may be left out or null. @throws UsageError for what is not a text. */
export function text(node: Node | undefined, name: string): string | undefined {
  const value = node?.value[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string') throw new UsageError(`${node?.pointer}/${name}`, 'must be a string')
  return value
}

/** Tokens of one modality of a prompt or an answer. */
export type Modality = { modality: string; tokens: Quantity }

/** The tokens of all entries of the given modalities; undefined where there is no such entry. */
export function sumOfModalities(list: readonly Modality[], names: readonly string[]): Quantity | undefined {
  const [first, ...others] = list.filter(({ modality }) => names.includes(modality.toLowerCase()))
  if (first === undefined) return undefined
  const count = others.reduce((sum, { tokens }) => sum + tokens.count, first.tokens.count)
  return { count, pointer: first.tokens.pointer }
}

/**
 * Collects a usage in normal form, and remembers where each field stood, so that an error names the provider's field.
 */
export class Reading {
  readonly usage: Usage = {}
  readonly #pointers: Partial<Record<UsageQuantity, string>> = {}

  /** Adds what was found to a field; nothing where nothing was found. */
  add(field: UsageQuantity, found: Quantity | undefined): void {
    if (found === undefined) return
    this.usage[field] = checkQuantity(found.pointer, (this.usage[field] ?? 0) + found.count)
    this.#pointers[field] ??= found.pointer
  }

  /** The tier that served, by any provider's word for it. */
  servedBy(tier: string | undefined): void {
    const known = normalTier(tier)
    if (known !== undefined) this.usage.service_tier = known
  }

  /**
   * Splits a medium (audio, images, video) of the prompt into what came from the cache and what did not, since the two are
   * parts of different wholes.
   *
   * Where the provider does not say how much of it was cached, as little is assumed as the totals allow: uncached is
   * the dearer one. Video from the cache has the rate of all that comes from there.
   */
  addMedium(medium: 'audio' | 'image' | 'video', all: Quantity | undefined, cached: Quantity | undefined): void {
    if (all === undefined) return
    const { input_tokens: input = 0, cache_read_tokens: reads = 0, cache_write_tokens: writes = 0 } = this.usage
    const { audio_input_tokens: audio = 0, image_input_tokens: images = 0, video_input_tokens: video = 0 } = this.usage
    const otherMedia = audio + images + video
    const overlap = Math.max(0, all.count + otherMedia + reads + writes - input)
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

  /** The usage that was collected. @throws UsageError when a part is larger than its whole. */
  finish(): Usage {
    checkParts(this.usage, this.#pointers)
    return this.usage
  }
}

const MEDIA = [
  ['audio', ['audio']],
  ['image', ['image', 'document']],
  ['video', ['video']],
] as const

/** Our word for a provider's tier; undefined where it says nothing. */
function normalTier(tier: string | undefined): string | undefined {
  switch (tier?.toLowerCase()) {
    case undefined:
    // What was asked for, not what was served.
    case 'auto':
      return undefined
    case 'batch':
    case 'flex':
    case 'priority':
    case 'fast':
      return tier?.toLowerCase()
    // Faster than fast, and no published factor of its own: the nearest that is known.
    case 'ultrafast':
      return 'fast'
    default:
      return 'standard'
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
