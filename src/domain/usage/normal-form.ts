import { pointerStep } from '../json-pointer.ts'

/**
 * The usage of a model in normal form, the same for all providers: the quantities of one request, or the sums of
 * several. Whole numbers ≥ 0.
 *
 * `input_tokens` is the whole prompt. Cache reads and writes, audio, image and video tokens are parts of it that do
 * not overlap: cached audio counts in `cache_read_audio_tokens` and not in `audio_input_tokens`. `output_tokens` is
 * everything generated. Reasoning, audio, image and video tokens are parts of it that do not overlap.
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
  /** How many requests the usage sums up. One if it is left out. */
  requests?: number
  /** The tier that served the request, as the provider says; wins over what was asked for. */
  service_tier?: string
  /** The region that served the request, as the provider says; wins over what was asked for. */
  region?: string
  /** How much of the web the request searched, if its provider charges by that. */
  search_context?: SearchContext
  /**
   * The 1 to 100 requests that the usage sums up, if their split is known. The quantities above are the sums of
   * theirs.
   */
  steps?: UsageStep[]
}

/** One of the requests that a usage sums up. It has tokens only. */
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

/** The quantities that a step has: all token counts. */
export const STEP_QUANTITIES = USAGE_QUANTITIES.filter(
  (name): name is keyof UsageStep => name !== 'web_searches' && name !== 'requests',
)

/** The upper bound of every quantity: far above any real request, and exact as a double. */
const USAGE_QUANTITY_MAX = 1_000_000_000_000

/** The most requests of one usage that are kept apart. */
export const USAGE_STEPS_MAX = 100

/** Tiers that are billed at the plain rates of a rate card. */
export const PLAIN_TIERS: ReadonlySet<string> = new Set(['standard', 'default', 'auto'])

/** The values of `service_tier` that checkUsage() accepts. */
const SERVICE_TIERS: ReadonlySet<string> = new Set([...PLAIN_TIERS, 'batch', 'flex', 'priority', 'fast'])

const REGION = /^[!-~]{1,200}$/

/** A usage that cannot be priced. `pointer` (RFC 6901) is relative to the usage as it was sent. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly pointer: string

  constructor(pointer: string, message: string) {
    super(message)
    this.pointer = pointer
  }
}

/**
 * Checks a usage in normal form: known fields only, whole numbers from 0 to 1e12, no part larger than its whole. Null
 * counts as left out. Callers cannot send `steps`; only the readers of provider usage create them.
 *
 * @param base the pointer to the usage, if it is inside something else.
 * @throws UsageError at the first wrong field.
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

/**
 * Checks the steps of a usage.
 *
 * @throws UsageError if a step has a part larger than its whole, or if the steps do not add up to the usage.
 */
export function checkSteps(usage: Usage, steps: readonly UsageStep[]): void {
  for (const step of steps) checkParts(step, {}, '/steps')
  for (const name of STEP_QUANTITIES) {
    const sum = steps.reduce((total, step) => total + (step[name] ?? 0), 0)
    if (sum !== (usage[name] ?? 0)) throw new UsageError(`/${name}`, `is not the sum of its requests (${sum})`)
  }
}

/** Checks that a value is a whole number from 0 to 1e12. @throws UsageError */
export function checkQuantity(pointer: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) throw new UsageError(pointer, 'must be a whole number')
  if (value < 0) throw new UsageError(pointer, 'must not be negative')
  if (value > USAGE_QUANTITY_MAX) throw new UsageError(pointer, `must be at most ${USAGE_QUANTITY_MAX}`)
  return value
}

/** Each whole and its parts, which do not overlap. */
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
 * Checks that no part is larger than its whole, alone or together with the parts before it.
 *
 * @param pointers where each field was in the provider's own form, for the error.
 * @param base the pointer to the usage, for fields without a pointer of their own.
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
  if (typeof value === 'string' && SERVICE_TIERS.has(value)) return value
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

/** Whether a value can be the name of a region: 1 to 200 printable characters. */
export function isRegion(value: unknown): value is string {
  return typeof value === 'string' && REGION.test(value)
}

function isQuantityName(name: string): name is UsageQuantity {
  return (USAGE_QUANTITIES as readonly string[]).includes(name)
}
