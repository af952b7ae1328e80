import type { ExtendItem } from '../../db/reservations/extend-reservations.ts'
import type { StoredReservation } from '../../db/reservations/reservation.ts'
import { estimateLlm } from '../../domain/estimate.ts'
import { usdText } from '../../domain/money.ts'
import { invalidRequest } from '../../errors.ts'
import type { ExtendBody } from '../../schemas/reservations.ts'
import { amountOf } from '../amount.ts'
import { findPrice, priceSandboxRun, type PriceDeps } from '../prices/price-lookup.ts'

type Total = NonNullable<ExtendItem['total']>
type Estimate = NonNullable<ExtendBody['estimate']>
type Measure = keyof Estimate

const MEASURES: readonly Measure[] = ['max_output_tokens', 'max_seconds', 'estimated_cost_usd']

/** Finds which total the request gives. @throws invalidRequest unless it gives exactly one. */
export function givenTotal(estimate: Estimate): Measure {
  const [given, another] = MEASURES.filter((name) => estimate[name] !== undefined)
  if (given === undefined || another !== undefined) {
    const message = `is required: exactly one of ${MEASURES.join(', ')}`
    throw invalidRequest([{ pointer: `/estimate/${another ?? MEASURES[0]}`, message }])
  }
  return given
}

/**
 * Prices a new total of a reservation with the rest of its estimate unchanged, at the rates of its created_at.
 *
 * @throws invalidRequest if the reservation was estimated by another measure; price_not_found.
 */
export async function estimateTotal(deps: PriceDeps, stored: StoredReservation, estimate: Estimate): Promise<Total> {
  const given = givenTotal(estimate)
  const own = measureOfReservation(stored)
  if (given !== own) {
    const message = `does not fit: this reservation was estimated otherwise, so give ${own}`
    throw invalidRequest([{ pointer: `/estimate/${given}`, message }])
  }
  if (given === 'max_output_tokens') return totalOfModelCall(deps, stored, estimate.max_output_tokens!)
  if (given === 'max_seconds') return totalOfSandbox(deps, stored, estimate.max_seconds!)
  const amountUsd = usdText(amountOf(estimate.estimated_cost_usd!, '/estimate/estimated_cost_usd'))
  return { estimate: { estimated_cost_usd: amountUsd }, amount_usd: amountUsd }
}

function measureOfReservation(stored: StoredReservation): Measure {
  if ('estimated_cost_usd' in stored.estimate) return 'estimated_cost_usd'
  return stored.resource_type === 'llm' ? 'max_output_tokens' : 'max_seconds'
}

async function totalOfModelCall(deps: PriceDeps, stored: StoredReservation, tokens: number): Promise<Total> {
  const at = new Date(stored.created_at)
  // Use the priced model, not the requested name: an alias may mean another model by now.
  const model = stored.priced_model ?? stored.model!
  const price = await findPrice(deps, { provider: stored.provider!, model, at }, '/estimate')
  const { input_tokens: inputTokens, max_web_searches: maxWebSearches = 0 } = stored.estimate as {
    input_tokens: number
    max_web_searches?: number
  }
  const { totalUsd } = estimateLlm(price, {
    inputTokens,
    maxOutputTokens: tokens,
    maxWebSearches,
    serviceTier: stored.service_tier,
    region: stored.region,
  })
  const amountUsd = amountOf(totalUsd, '/estimate/max_output_tokens')
  return { estimate: { max_output_tokens: tokens }, amount_usd: usdText(amountUsd) }
}

async function totalOfSandbox(deps: PriceDeps, stored: StoredReservation, seconds: number): Promise<Total> {
  const { costUsd } = await priceSandboxRun(
    deps,
    {
      tier: stored.tier!,
      region: stored.region!,
      ...(stored.vcpu === null ? {} : { vcpu: stored.vcpu, memoryMib: stored.memory_mib! }),
    },
    { startedAt: new Date(stored.created_at), seconds },
    '/estimate/max_seconds',
  )
  const amountUsd = amountOf(costUsd, '/estimate/max_seconds')
  return { estimate: { seconds }, amount_usd: usdText(amountUsd) }
}
