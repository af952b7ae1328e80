import { decimal, roundUsd, type Usd } from './money.ts'
import {
  costLine,
  feeLines,
  modifierOf,
  namedModifiers,
  ratesFor,
  usdPerToken,
  type CostLine,
  type ModelPrice,
  type Asked,
} from './price.ts'
import type { Bucket } from './usage/buckets.ts'
import { SEARCH_CONTEXTS } from './usage/normal-form.ts'

export type LlmEstimateInput = Asked & {
  /** The whole prompt, including tokens that may come from the cache. */
  inputTokens: number
  maxOutputTokens: number
  maxWebSearches?: number
}

export type LlmEstimate = {
  /** Rounded once: half up at the 12th decimal. */
  totalUsd: Usd
  /** The part that is due before the first output token: input and fees. Exact, not rounded. */
  fixedUsd: Usd
  /** Exact. */
  usdPerOutputToken: Usd
  longContext: boolean
  breakdown: CostLine[]
}

/**
 * The highest amount that a text request can cost. Adds up:
 * - all input at the highest rate that can apply (plain, or any cache read or write rate of the card; the
 * long-context rates if the input is above the threshold),
 * - all output at the output rate, or at the reasoning rate if that is higher,
 * - the web searches, and the highest fee for one request.
 *
 * Quantities are whole numbers from 0 to 1e12.
 */
export function estimateLlm(price: ModelPrice, request: LlmEstimateInput): LlmEstimate {
  const { longContext, input, output } = tokenPrices(price, request)
  const inputLine = costLine(input.bucket, request.inputTokens, input.usdPerToken)
  const perRequest = dearestRequestFee(price)
  const fees = feeLines(price, { webSearches: request.maxWebSearches ?? 0, requests: 1, perRequest })
  const outputLine = costLine(output.bucket, request.maxOutputTokens, output.usdPerToken)
  const fixedUsd = fees.reduce((sum, line) => sum.plus(line.costUsd), inputLine.costUsd)
  return {
    totalUsd: roundUsd(fixedUsd.plus(outputLine.costUsd)),
    fixedUsd,
    usdPerOutputToken: output.usdPerToken,
    longContext,
    breakdown: [inputLine, ...fees, outputLine].filter((line) => line.quantity > 0),
  }
}

function dearestRequestFee({ usdPerUnit }: ModelPrice): string | undefined {
  let dearest = usdPerUnit.request
  for (const size of SEARCH_CONTEXTS) {
    const fee = usdPerUnit[`request_${size}`]
    if (fee !== undefined && (dearest === undefined || decimal(fee).gt(decimal(dearest)))) dearest = fee
  }
  return dearest
}

type TokenPrice = { bucket: Bucket; usdPerToken: Usd }
type TokenPrices = { longContext: boolean; input: TokenPrice; output: TokenPrice }

// Computing these is most of the work of an estimate, and the result depends only on card, context length, tier and
// region. So it is kept.
const known = new WeakMap<ModelPrice, Map<string, TokenPrices>>()

function tokenPrices(price: ModelPrice, request: LlmEstimateInput): TokenPrices {
  const rates = ratesFor(price, request.inputTokens)
  const { serviceTier, region } = namedModifiers(price, request)
  const name = `${rates.longContext} ${serviceTier} ${region}`
  let ofCard = known.get(price)
  if (ofCard === undefined) known.set(price, (ofCard = new Map<string, TokenPrices>()))
  let prices = ofCard.get(name)
  if (prices === undefined) {
    const factor = modifierOf(price, request)
    prices = {
      longContext: rates.longContext,
      input: dearest(rates, factor, 'input', INPUT_BUCKETS),
      output: dearest(rates, factor, 'output', ['reasoning']),
    }
    ofCard.set(name, prices)
  }
  return prices
}

/** The buckets that may price a text prompt besides plain input. */
const INPUT_BUCKETS = ['cache_read', 'cache_write', 'cache_write_1h', 'cache_write_12h'] as const

/** The rate of the bucket, or of one of the others if the card has a higher rate for it. */
function dearest(
  rates: ReturnType<typeof ratesFor>,
  factor: Usd,
  bucket: Bucket,
  others: readonly Bucket[],
): TokenPrice {
  let found = { bucket, rate: rates.of(bucket) }
  for (const other of others) {
    const rate = rates.own(other)
    if (rate !== undefined && decimal(rate).gt(decimal(found.rate))) found = { bucket: other, rate }
  }
  return { bucket: found.bucket, usdPerToken: usdPerToken(found.rate, factor) }
}
