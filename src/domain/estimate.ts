import { decimal, roundUsd, wholeUnits, type Usd } from './money.ts'
import {
  costLine,
  feeLines,
  modifierOf,
  ratesFor,
  usdPerToken,
  type CostLine,
  type ModelPrice,
  type Asked,
} from './price.ts'
import type { Bucket } from './usage/buckets.ts'

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
 * that of reasoning where it is dearer, the web searches, and the fee of one request.
 *
 * Quantities are whole numbers ≥ 0, at most 1e12.
 */
export function estimateLlm(price: ModelPrice, request: LlmEstimateInput): LlmEstimate {
  const rates = ratesFor(price, request.inputTokens)
  const factor = modifierOf(price, request)
  const [outputBucket, outputRate] = dearest(rates, 'output', ['reasoning'])
  const usdPerOutputToken = usdPerToken(outputRate, factor)
  const [inputBucket, inputRate] = dearest(rates, 'input', INPUT_BUCKETS)
  const fixed = [
    costLine(inputBucket, request.inputTokens, usdPerToken(inputRate, factor)),
    ...feeLines(price, { webSearches: request.maxWebSearches ?? 0, requests: 1 }),
  ]
  const output = costLine(outputBucket, request.maxOutputTokens, usdPerOutputToken)
  const fixedUsd = fixed.reduce((sum, line) => sum.plus(line.costUsd), decimal(0))
  const breakdown = [...fixed, output].filter((line) => line.quantity > 0)
  return {
    totalUsd: roundUsd(fixedUsd.plus(output.costUsd)),
    fixedUsd,
    usdPerOutputToken,
    longContext: rates.longContext,
    breakdown,
  }
}

/**
 * The most output tokens that a room pays for beside what is fixed: floor((room − fixed) ÷ price of a token), at most
 * what was asked for; 0 where not one fits, or where the token is free and no cap could help.
 */
export function outputTokensWithin(estimate: LlmEstimate, roomUsd: Usd, maxOutputTokens: number): number {
  const left = roomUsd.minus(estimate.fixedUsd)
  if (left.lte(0) || estimate.usdPerOutputToken.lte(0)) return 0
  return Math.min(maxOutputTokens, wholeUnits(left, estimate.usdPerOutputToken))
}

/** What a prompt of text may be priced as beside plain input. */
const INPUT_BUCKETS = ['cache_read', 'cache_write', 'cache_write_1h', 'cache_write_12h'] as const

/** The bucket or, where the card has a dearer rate for one of the others, that one. */
function dearest(
  rates: ReturnType<typeof ratesFor>,
  bucket: Bucket,
  others: readonly Bucket[],
): [bucket: Bucket, usdPerMtok: string] {
  let found: [Bucket, string] = [bucket, rates.of(bucket)]
  for (const other of others) {
    const rate = rates.own(other)
    if (rate !== undefined && decimal(rate).gt(decimal(found[1]))) found = [other, rate]
  }
  return found
}
