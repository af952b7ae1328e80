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
 * The most that a request can cost: all input at the dearest rate that can apply to it (plain, or any cache write of the
 * card; the long-context rates where the input is above the threshold), the most output at the output rate, the web
 * searches, and the fee of one request.
 *
 * Quantities are whole numbers ≥ 0, at most 1e12.
 */
export function estimateLlm(price: ModelPrice, request: LlmEstimateInput): LlmEstimate {
  const rates = ratesFor(price, request.inputTokens)
  const factor = modifierOf(price, request)
  const usdPerOutputToken = usdPerToken(rates.of('output'), factor)
  const [inputBucket, inputRate] = dearestInput(rates)
  const fixed = [
    costLine(inputBucket, request.inputTokens, usdPerToken(inputRate, factor)),
    ...feeLines(price, { webSearches: request.maxWebSearches ?? 0, requests: 1 }),
  ]
  const output = costLine('output', request.maxOutputTokens, usdPerOutputToken)
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

function dearestInput(rates: ReturnType<typeof ratesFor>): [Bucket, string] {
  let dearest: [Bucket, string] = ['input', rates.of('input')]
  for (const bucket of ['cache_write', 'cache_write_1h', 'cache_write_12h'] as const) {
    const rate = rates.own(bucket)
    if (rate !== undefined && decimal(rate).gt(decimal(dearest[1]))) dearest = [bucket, rate]
  }
  return dearest
}
