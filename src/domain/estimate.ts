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
  /** The whole prompt, cached or not. */
  inputTokens: number
  maxOutputTokens: number
  maxWebSearches?: number
}

export type LlmEstimate = {
  /** Rounded once: half up at the 12th decimal. */
  totalUsd: Usd
  /** What is due before the first token comes out: input and fees. Exact, not rounded. */
  fixedUsd: Usd
  /** Exact. */
  usdPerOutputToken: Usd
  longContext: boolean
  breakdown: CostLine[]
}

/**
 * The most that a request of text can cost: all input at the dearest rate that can apply to it (plain, or any cache read or
 * write of the card; the long-context rates where the input is above the threshold), the most output at the output rate, or
 * that of reasoning where it is dearer, the web searches, and the dearest fee of one request.
 *
 * Quantities are whole numbers ≥ 0, at most 1e12.
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

// Most of the work of an estimate, and the same for every request of a card, context length, tier and region.
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

/** What a prompt of text may be priced as beside plain input. */
const INPUT_BUCKETS = ['cache_read', 'cache_write', 'cache_write_1h', 'cache_write_12h'] as const

/** The bucket or, where the card has a dearer rate for one of the others, that one. */
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
