import { estimateLlm } from '../../domain/estimate.ts'
import { readInstant } from '../../domain/instant.ts'
import { usdText, type Usd } from '../../domain/money.ts'
import { costOfUsage, type CostLine, type ModelPrice } from '../../domain/price.ts'
import type { Reading } from '../../domain/usage/index.ts'
import { invalidRequest } from '../../errors.ts'
import type { EstimateBody } from '../../schemas/estimates.ts'
import type { UsageWarning } from '../../schemas/usage.ts'
import { timeText, usdJson } from '../answers.ts'
import { providerTokens, checkedTokens } from '../costs/measure.ts'
import { findPrice, priceSandboxRun, type PriceDeps } from './price-lookup.ts'
import { inputTokensOf, sandboxSize } from '../reservations/reserve-estimate.ts'
import { tierWarnings, usageWarnings } from '../costs/usage-warnings.ts'

/**
 * Prices a usage, or the most that a call can cost, by the rate card of a given time. Reads no quota and stores nothing.
 *
 * @throws price_not_found; invalidRequest.
 */
export async function estimate(deps: PriceDeps, body: EstimateBody): Promise<object> {
  const at = body.at === undefined ? undefined : readInstant(body.at)
  const own = body.resource_type
  const other = own === 'llm' ? 'e2b' : 'llm'
  if (body[other] !== undefined) {
    throw invalidRequest([{ pointer: `/${other}`, message: `cannot be combined with resource_type ${own}` }])
  }
  if (body.llm !== undefined) return estimateCall(deps, body.llm, at)
  if (body.e2b !== undefined) return estimateRun(deps, body.e2b, at)
  throw invalidRequest([{ pointer: `/${own}`, message: 'is required' }])
}

async function estimateCall(deps: PriceDeps, llm: NonNullable<EstimateBody['llm']>, at?: string): Promise<object> {
  const given = (['usage', 'provider_usage', 'max_output_tokens'] as const).filter((name) => llm[name] !== undefined)
  if (given.length !== 1) {
    const message = 'is required: exactly one of usage, provider_usage, and max_output_tokens with input_tokens or text'
    throw invalidRequest([{ pointer: `/llm/${given[1] ?? 'usage'}`, message }])
  }
  const price = await findPrice(
    deps,
    { provider: llm.provider, model: llm.model, at, usage: llm.provider_usage },
    '/llm',
  )
  const served = { serviceTier: llm.service_tier ?? null, region: llm.region ?? null }
  if (llm.max_output_tokens !== undefined) {
    const inputTokens = await inputTokensOf(price.provider, llm, '/llm')
    const upper = estimateLlm(price, {
      inputTokens,
      maxOutputTokens: llm.max_output_tokens,
      maxWebSearches: llm.max_web_searches ?? 0,
      ...served,
    })
    const warnings = tierWarnings(price, served.serviceTier)
    return { ...callAnswer(price, upper.totalUsd, upper, warnings), input_tokens: inputTokens }
  }
  const reading = readingOf(llm, price.provider)
  const cost = costOfUsage(price, reading.usage, served)
  const warnings = usageWarnings(reading, { price, costUsd: cost.costUsd, asked: served })
  return callAnswer(price, cost.costUsd, cost, warnings)
}

function readingOf(llm: NonNullable<EstimateBody['llm']>, provider: string): Reading {
  for (const name of ['text', 'input_tokens', 'cache_read_tokens', 'max_web_searches'] as const) {
    if (llm[name] !== undefined)
      throw invalidRequest([{ pointer: `/llm/${name}`, message: 'cannot be combined with a usage' }])
  }
  if (llm.usage === undefined)
    return providerTokens(llm.provider_usage!, { provider, model: llm.model }, '/llm/provider_usage')
  const { seconds, ...tokens } = llm.usage
  if (seconds !== undefined) throw invalidRequest([{ pointer: '/llm/usage/seconds', message: 'is for sandboxes' }])
  return checkedTokens(tokens, '/llm/usage')
}

function callAnswer(
  price: ModelPrice,
  costUsd: Usd,
  { longContext, breakdown }: { longContext: boolean; breakdown: CostLine[] },
  warnings: UsageWarning[],
) {
  return {
    cost_usd: usdJson(usdText(costUsd)),
    price_id: Number(price.priceId),
    effective_date: timeText(price.effectiveDate),
    long_context: longContext,
    breakdown: breakdown.map((line) => ({
      bucket: line.bucket,
      quantity: line.quantity,
      usd_per_unit: usdJson(usdText(line.usdPerUnit)),
      cost_usd: usdJson(usdText(line.costUsd)),
    })),
    warnings,
  }
}

async function estimateRun(deps: PriceDeps, e2b: NonNullable<EstimateBody['e2b']>, at?: string): Promise<object> {
  const size = sandboxSize(e2b, '/e2b')
  const run = { startedAt: at, seconds: e2b.seconds }
  const { price, costUsd, parts } = await priceSandboxRun(deps, size, run, '/e2b/seconds')
  return {
    cost_usd: usdJson(usdText(costUsd)),
    price_id: Number(price.priceId),
    effective_date: timeText(price.effectiveDate),
    long_context: false,
    breakdown: parts
      .filter(({ seconds }) => seconds.gt(0))
      .map((part) => ({
        bucket: 'seconds',
        quantity: usdJson(usdText(part.seconds)),
        usd_per_unit: usdJson(usdText(part.usdPerSecond)),
        cost_usd: usdJson(usdText(part.costUsd)),
      })),
    warnings: [],
  }
}
