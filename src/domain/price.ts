import { decimal, isZero, roundUsd, type Usd } from './money.ts'
import { bucketsOf, OUTPUT_BUCKETS, type Bucket } from './usage/buckets.ts'
import { PLAIN_TIERS, type SearchContext, type Usage, type UsageStep } from './usage/normal-form.ts'

export type { Bucket } from './usage/buckets.ts'

/**
 * What a provider charges by the piece, besides tokens. The fee of a request may depend on the size of the context
 * that it searched.
 */
export type Fee = 'web_search' | 'request' | `request_${SearchContext}`

/** USD per million tokens, as decimal text. */
export type Rates = Partial<Record<Bucket, string>>

/**
 * One version of a model's rate card, valid from `effectiveDate` (inclusive) to `expiresAt` (exclusive; null: no
 * end).
 */
export type ModelPrice = {
  priceId: string
  provider: string
  model: string
  /** RFC 3339, UTC. */
  effectiveDate: string
  /** RFC 3339, UTC. */
  expiresAt: string | null
  source: string
  usdPerMtok: Rates
  usdPerUnit: Partial<Record<Fee, string>>
  /**
   * Rates that replace those of `usdPerMtok` for a whole request whose total input is strictly above the threshold.
   */
  longContext: { inputTokensOver: number; usdPerMtok: Rates } | null
  /** Factors on token rates, by `batch`, `flex`, `priority`, `fast`, `ultrafast` or `region:<name>`. */
  modifiers: Record<string, string>
}

export type CostLine = {
  bucket: Bucket | Fee
  quantity: number
  /** USD per token, search or request, after modifiers. Exact. */
  usdPerUnit: Usd
  /** Quantity × usdPerUnit; exact, not rounded. */
  costUsd: Usd
}

export type UsageCost = {
  costUsd: Usd
  /** The total minus the output cost. It includes the fees, so that both amounts add up to the total. */
  inputCostUsd: Usd
  outputCostUsd: Usd
  /** Whether any request of the usage had the long-context rates. */
  longContext: boolean
  /** A bucket has two lines if some requests had the plain rates and others the long-context rates. */
  breakdown: CostLine[]
}

/** The tier and region that the caller asked for. What the usage says about them wins. */
export type Asked = { serviceTier?: string | null; region?: string | null }

const USD_PER_MTOK_TO_TOKEN = decimal('0.000001')

/**
 * Prices a usage by a card: Σ quantity × rate, exact, rounded once: half up at the 12th decimal of the total.
 *
 * The SQL function price_llm_usage computes the same decimals. Web searches are free only if the card has no fee for
 * them. A usage that does not count its requests is one request. The long-context threshold applies to each request:
 * see isUnsplit().
 * @throws UsageError when a part of the usage, or of one of its steps, is larger than its whole.
 */
export function costOfUsage(price: ModelPrice, usage: Usage, asked: Asked = {}): UsageCost {
  const rated = ratedTokens(price, usage)
  const factor = USD_PER_MTOK_TO_TOKEN.times(
    modifierOf(price, {
      serviceTier: billedTier(usage.service_tier, asked.serviceTier),
      region: usage.region ?? asked.region ?? null,
    }),
  )
  const breakdown: CostLine[] = []
  let exactUsd = decimal(0)
  let exactOutputUsd = decimal(0)
  for (const { rates, tokens } of rated) {
    for (const [bucket, quantity] of tokens) {
      const line = costLine(bucket, quantity, decimal(rates.of(bucket)).times(factor))
      breakdown.push(line)
      exactUsd = exactUsd.plus(line.costUsd)
      if (OUTPUT_BUCKETS.has(bucket)) exactOutputUsd = exactOutputUsd.plus(line.costUsd)
    }
  }
  const { web_searches: webSearches = 0, requests = 1 } = usage
  for (const line of feeLines(price, { webSearches, requests, perRequest: requestFee(price, usage.search_context) })) {
    breakdown.push(line)
    exactUsd = exactUsd.plus(line.costUsd)
  }
  const costUsd = roundUsd(exactUsd)
  const outputCostUsd = roundUsd(exactOutputUsd)
  return {
    costUsd,
    inputCostUsd: costUsd.minus(outputCostUsd),
    outputCostUsd,
    longContext: rated.some(({ rates }) => rates.longContext),
    breakdown,
  }
}

type RatedTokens = { rates: ApplicableRates; tokens: Iterable<[bucket: Bucket, quantity: number]> }

/**
 * Groups the tokens of a usage by the rates that apply: step by step if steps may have different rates, else as a
 * whole.
 */
function ratedTokens(price: ModelPrice, usage: Usage): RatedTokens[] {
  const { input_tokens: inputTokens = 0, requests, steps = [] } = usage
  // No step has more input than the whole, so if the whole is below the threshold every step is.
  if (steps.length === 0 || !isLong(price, inputTokens)) {
    return [{ rates: ratesFor(price, inputTokens, requests), tokens: bucketsOf(usage) }]
  }
  const byLength = Map.groupBy(steps, (step) => isLong(price, step.input_tokens ?? 0))
  return byLength
    .values()
    .map((alike) => ({ rates: ratesFor(price, alike[0]!.input_tokens ?? 0), tokens: sumBuckets(alike) }))
    .toArray()
}

function sumBuckets(steps: UsageStep[]): Map<Bucket, number> {
  const tokens = new Map<Bucket, number>()
  for (const [bucket, quantity] of steps.flatMap(bucketsOf)) tokens.set(bucket, (tokens.get(bucket) ?? 0) + quantity)
  return tokens
}

/**
 * Whether a usage sums up several requests without their split, although the split could change the price because the
 * sum is above the card's threshold. Such requests are priced as if each had the mean input.
 *
 * @param mayBeMany whether the number of requests is unknown. Such a usage is priced as one request unless it counts
 * them.
 */
export function isUnsplit(price: ModelPrice, usage: Usage, mayBeMany = false): boolean {
  const { input_tokens: inputTokens = 0, requests = 1, steps } = usage
  return steps === undefined && (mayBeMany || requests > 1) && isLong(price, inputTokens)
}

/** Whether the mean input of `requests` requests (0 counts as 1) is strictly above the card's threshold. */
function isLong({ longContext }: ModelPrice, inputTokens: number, requests = 1): boolean {
  return longContext !== null && inputTokens > longContext.inputTokensOver * Math.max(requests, 1)
}

/** The rates of one request for its context length. `own` gives only rates that the card states; `of` falls back. */
export type ApplicableRates = {
  longContext: boolean
  of(bucket: Bucket): string
  own(bucket: Bucket): string | undefined
}

/**
 * Chooses the rates for a total input. Long-context rates replace the plain ones if the input, or its mean over
 * `requests` (0 counts as 1), is strictly above the threshold.
 *
 * A bucket without a rate takes the rate of the bucket it falls back to, so that no token is free by omission.
 * @throws Error when the card has no input rate; the database refuses such a card.
 */
export function ratesFor(price: ModelPrice, inputTokens: number, requests = 1): ApplicableRates {
  const long = isLong(price, inputTokens, requests) ? price.longContext : null
  const rates: Rates = long === null ? price.usdPerMtok : { ...price.usdPerMtok, ...long.usdPerMtok }
  return {
    longContext: long !== null,
    own: (bucket) => rates[bucket],
    of(bucket) {
      const rate = rates[bucket] ?? rates[FALLBACKS[bucket].find((one) => rates[one] !== undefined) ?? 'input']
      if (rate === undefined) throw new Error(`price ${price.priceId} has no input rate`)
      return rate
    },
  }
}

/** The buckets that lend their rate to a bucket without one: the first that has a rate counts, in the end input. */
const FALLBACKS: Record<Bucket, readonly Bucket[]> = {
  input: [],
  cache_read: [],
  // Without cached rates, cached audio and images cost the same as uncached ones, not the same as text.
  cache_read_audio: ['cache_read', 'audio_input'],
  cache_read_image: ['cache_read', 'image_input'],
  cache_write: [],
  cache_write_1h: ['cache_write'],
  cache_write_12h: ['cache_write'],
  audio_input: [],
  image_input: [],
  video_input: [],
  output: [],
  reasoning: ['output'],
  audio_output: ['output'],
  image_output: ['output'],
  video_output: ['output'],
}

/** The factor on token rates: the tier's times the region's. 1 for what the card does not name. */
export function modifierOf(price: ModelPrice, asked: Asked): Usd {
  const { serviceTier, region } = namedModifiers(price, asked)
  return [serviceTier, region].reduce(
    (factor, name) => (name === null ? factor : factor.times(decimal(price.modifiers[name]!))),
    decimal(1),
  )
}

/** The names of the card's modifiers for a tier and a region; null if the card has none. */
export function namedModifiers(
  price: ModelPrice,
  { serviceTier, region }: Asked,
): { serviceTier: string | null; region: string | null } {
  const own = (name: string) => (Object.hasOwn(price.modifiers, name) ? name : null)
  return { serviceTier: serviceTier ? own(serviceTier) : null, region: region ? own(`region:${region}`) : null }
}

/** Whether every rate and fee of a card is 0, so that no usage of it costs anything. */
export function isFreeCard({ usdPerMtok, usdPerUnit, longContext }: ModelPrice): boolean {
  const areFree = (rates: object) => Object.values(rates).every((rate: string) => isZero(decimal(rate)))
  return areFree(usdPerMtok) && areFree(usdPerUnit) && areFree(longContext?.usdPerMtok ?? {})
}

/** The fee of a request: the one for the size of its search context if the card has it, else the plain one. */
function requestFee({ usdPerUnit }: ModelPrice, searchContext: SearchContext | undefined): string | undefined {
  const ofContext = searchContext === undefined ? undefined : usdPerUnit[`request_${searchContext}`]
  return ofContext ?? usdPerUnit.request
}

/** The lines for web searches and requests. Modifiers do not apply to fees. */
export function feeLines(
  price: ModelPrice,
  { perRequest, ...counts }: { webSearches: number; requests: number; perRequest: string | undefined },
): CostLine[] {
  const lines: CostLine[] = []
  const { web_search: perSearch } = price.usdPerUnit
  if (perSearch !== undefined && counts.webSearches > 0) {
    lines.push(costLine('web_search', counts.webSearches, decimal(perSearch)))
  }
  if (perRequest !== undefined && counts.requests > 0) {
    lines.push(costLine('request', counts.requests, decimal(perRequest)))
  }
  return lines
}

/** Converts USD per million tokens to USD per token, after modifiers. */
export function usdPerToken(usdPerMtok: string, factor: Usd): Usd {
  return decimal(usdPerMtok).times(USD_PER_MTOK_TO_TOKEN).times(factor)
}

export function costLine(bucket: Bucket | Fee, quantity: number, usdPerUnit: Usd): CostLine {
  return { bucket, quantity, usdPerUnit, costUsd: usdPerUnit.times(quantity) }
}

/**
 * The tier that is billed. The served tier wins over the asked one, except over batch: answers of a batch say
 * `standard`, although the batch rate is charged.
 */
export function billedTier(served: string | undefined, asked: string | null | undefined): string | null {
  if (served === undefined) return asked ?? null
  return asked === 'batch' && PLAIN_TIERS.has(served) ? asked : served
}

/** Whether a tier is billed at the plain rates. */
export function isPlainTier(tier: string): boolean {
  return PLAIN_TIERS.has(tier)
}
