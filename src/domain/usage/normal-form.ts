import { pointerStep } from '../json-pointer.ts'

/**
 * Usage of a model in the one normal form, whatever the provider sent: quantities of one request, or the sums of several,
 * whole numbers ≥ 0.
 *
 * `input_tokens` is the whole prompt; cache reads and writes, audio, image and video tokens are disjoint parts of it, so audio
 * that came from the cache counts in `cache_read_audio_tokens` and not in `audio_input_tokens`. `output_tokens` is all
 * that was generated; reasoning, audio, image and video tokens are disjoint parts of it.
 */
export type Usage = {
  input_tokens?: number
  /** Part of input; includes the two below. */
  cache_read_tokens?: number
  cache_read_audio_tokens?: number
  cache_read_image_tokens?: number
  /** Part of input; includes the two below. */
  cache_write_tokens?: number
  cache_write_1h_tokens?: number
  cache_write_12h_tokens?: number
  /** Part of input, not from the cache. */
  audio_input_tokens?: number
  /** Part of input, not from the cache. */
  image_input_tokens?: number
  /** Part of input, not from the cache. */
  video_input_tokens?: number
  output_tokens?: number
  /** Part of output. */
  reasoning_tokens?: number
  /** Part of output. */
  audio_output_tokens?: number
  /** Part of output. */
  image_output_tokens?: number
  /** Part of output. */
  video_output_tokens?: number
  web_searches?: number
  /** Requests that the usage sums up; one where it does not say. */
  requests?: number
  /** The tier that served the request, as the provider says; wins over what was asked for. */
  service_tier?: string
  /** The region that served the request, as the provider says; wins over what was asked for. */
  region?: string
  /** How much of the web a request searched, where its provider charges by that. */
  search_context?: SearchContext
  /** The requests that it sums up, 1 to 100, where their split is known: the quantities above are the sums of theirs. */
  steps?: UsageStep[]
}

/** One of the requests that a usage sums up: its tokens only. */
export type UsageStep = Omit<
  Usage,
  'web_searches' | 'requests' | 'service_tier' | 'region' | 'search_context' | 'steps'
>

export type UsageQuantity = Exclude<keyof Usage, 'service_tier' | 'region' | 'search_context' | 'steps'>

export const SEARCH_CONTEXTS = ['low', 'medium', 'high'] as const
export type SearchContext = (typeof SEARCH_CONTEXTS)[number]

export const USAGE_QUANTITIES: readonly UsageQuantity[] = [
  'input_tokens',
  'cache_read_tokens',
  'cache_read_audio_tokens',
  'cache_read_image_tokens',
  'cache_write_tokens',
  'cache_write_1h_tokens',
  'cache_write_12h_tokens',
  'audio_input_tokens',
  'image_input_tokens',
  'video_input_tokens',
  'output_tokens',
  'reasoning_tokens',
  'audio_output_tokens',
  'image_output_tokens',
  'video_output_tokens',
  'web_searches',
  'requests',
]

/** The quantities of a step. */
export const STEP_QUANTITIES = USAGE_QUANTITIES.filter(
  (name): name is keyof UsageStep => name !== 'web_searches' && name !== 'requests',
)

/** Bound of every quantity: far above any request, and exact as a double. */
const USAGE_QUANTITY_MAX = 1_000_000_000_000

/** At most this many requests of one usage are kept apart. */
export const USAGE_STEPS_MAX = 100

/** What `service_tier` may say; the first three are the plain rates. */
const SERVICE_TIERS: readonly string[] = ['standard', 'default', 'auto', 'batch', 'flex', 'priority', 'fast']

const REGION = /^[!-~]{1,200}$/

/** A usage that cannot be priced. `pointer` (RFC 6901) is relative to the usage as it came. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly pointer: string

  constructor(pointer: string, message: string) {
    super(message)
    this.pointer = pointer
  }
}

/**
 * A usage in normal form, checked: known fields only, whole numbers from 0 to 1e12, no part larger than its whole. Null stands
 * for a field left out. `steps` is no field of a caller's: readers of usage objects make it.
 *
 * @param base the pointer to the usage itself, where it stands inside something else.
 * @throws UsageError at the first field that is wrong.
 */
export function checkUsage(raw: unknown, base = ''): Usage {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw new UsageError(base, 'must be an object')
  const usage: Usage = {}
  for (const [name, value] of Object.entries(raw)) {
    if (value === null || value === undefined) continue
    const pointer = `${base}/${pointerStep(name)}`
    if (isQuantityName(name)) usage[name] = checkQuantity(pointer, value)
    else if (name === 'service_tier') usage.service_tier = checkServiceTier(pointer, value)
    else if (name === 'region') usage.region = checkRegion(pointer, value)
    else if (name === 'search_context') usage.search_context = checkSearchContext(pointer, value)
    else throw new UsageError(pointer, 'is not a field of usage')
  }
  checkParts(usage, {}, base)
  return usage
}

/** @throws UsageError where a step has a part larger than its whole, or the steps do not add up to the usage. */
export function checkSteps(usage: Usage, steps: readonly UsageStep[]): void {
  for (const step of steps) checkParts(step, {}, '/steps')
  for (const name of STEP_QUANTITIES) {
    const sum = steps.reduce((total, step) => total + (step[name] ?? 0), 0)
    if (sum !== (usage[name] ?? 0)) throw new UsageError(`/${name}`, `is not the sum of its requests (${sum})`)
  }
}

/** A whole number from 0 to 1e12. @throws UsageError */
export function checkQuantity(pointer: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) throw new UsageError(pointer, 'must be a whole number')
  if (value < 0) throw new UsageError(pointer, 'must not be negative')
  if (value > USAGE_QUANTITY_MAX) throw new UsageError(pointer, `must be at most ${USAGE_QUANTITY_MAX}`)
  return value
}

/** The wholes and their disjoint parts. */
const WHOLES: readonly (readonly [whole: UsageQuantity, parts: readonly UsageQuantity[]])[] = [
  [
    'input_tokens',
    ['cache_read_tokens', 'cache_write_tokens', 'audio_input_tokens', 'image_input_tokens', 'video_input_tokens'],
  ],
  ['cache_read_tokens', ['cache_read_audio_tokens', 'cache_read_image_tokens']],
  ['cache_write_tokens', ['cache_write_1h_tokens', 'cache_write_12h_tokens']],
  ['output_tokens', ['reasoning_tokens', 'audio_output_tokens', 'image_output_tokens', 'video_output_tokens']],
]

/**
 * That no part is larger than its whole, alone or together with the parts before it.
 *
 * @param pointers where a field stood in a provider's own form, for the error.
 * @param base the pointer to the usage itself, for fields without one of their own.
 * @throws UsageError at the part that does not fit.
 */
export function checkParts(usage: Usage, pointers: Partial<Record<UsageQuantity, string>> = {}, base = ''): void {
  for (const [whole, parts] of WHOLES) {
    const total = usage[whole] ?? 0
    let sum = 0
    for (const part of parts) {
      const quantity = usage[part] ?? 0
      sum += quantity
      if (sum <= total) continue
      const together = quantity > total ? '' : 'together with the other parts '
      throw new UsageError(pointers[part] ?? `${base}/${part}`, `${together}is more than ${whole} (${total})`)
    }
  }
}

function checkServiceTier(pointer: string, value: unknown): string {
  if (typeof value === 'string' && SERVICE_TIERS.includes(value)) return value
  throw new UsageError(pointer, 'must be standard, batch, flex, priority or fast')
}

function checkSearchContext(pointer: string, value: unknown): SearchContext {
  const size = SEARCH_CONTEXTS.find((known) => known === value)
  if (size === undefined) throw new UsageError(pointer, 'must be low, medium or high')
  return size
}

function checkRegion(pointer: string, value: unknown): string {
  if (isRegion(value)) return value
  throw new UsageError(pointer, 'must be 1 to 200 printable characters')
}

/** 1 to 200 printable characters. */
export function isRegion(value: unknown): value is string {
  return typeof value === 'string' && REGION.test(value)
}

function isQuantityName(name: string): name is UsageQuantity {
  return (USAGE_QUANTITIES as readonly string[]).includes(name)
}
