import type { PriceCache } from '../../cache/prices.ts'
import type { DatabaseClock } from '../../db/pool/clock.ts'
import type { Db } from '../../db/pool/connection.ts'
import type { NamedPrice } from '../../db/prices/prices.ts'
import { costOfE2bRun, type E2bPrice, type E2bRunCost } from '../../domain/e2b.ts'
import type { Usd } from '../../domain/money.ts'
import { isWithin } from '../../domain/instant.ts'
import { candidateProviders } from '../../domain/makers.ts'
import type { ModelPrice } from '../../domain/price.ts'
import { invalidRequest } from '../../errors.ts'
import { modelNotPriced, sandboxNotPriced } from './near-prices.ts'

export type PriceDeps = { db: Db; prices: PriceCache; clock: DatabaseClock }

export const DEFAULT_REGION = 'us-east-1'

/**
 * Finds the version that prices a time (default: now), and that time. Before it reports that nothing is in force now, it
 * reads the time from Postgres, whose clock may have been set since the last answer.
 */
async function findRunning<Price extends object>(
  clock: DatabaseClock,
  versions: Price[],
  prices: (version: Price, at: Date | string) => boolean,
  at: Date | string | undefined,
): Promise<{ price: Price | undefined; at: Date | string }> {
  const first = at ?? (await clock.current())
  const price = versions.findLast((version) => prices(version, first))
  if (price !== undefined || at !== undefined || versions.length === 0) return { price, at: first }
  await clock.refresh()
  const then = clock.now()
  return { price: versions.findLast((version) => prices(version, then)), at: then }
}

/** A requested model. `usage` is the provider's usage object to price, if there is one. */
type ModelAsked = {
  provider?: string | undefined
  model: string
  at?: Date | string | undefined
  usage?: object | undefined
}

/**
 * Finds the rate card of a model at a time (default: now). Without a provider, uses the only one that candidateProviders() leaves.
 *
 * @throws price_not_found with suggestions; invalidRequest if several providers have the model and the request names none.
 */
export async function findPrice(
  deps: PriceDeps,
  { provider, model, at, usage }: ModelAsked,
  pointer: string,
): Promise<ModelPrice> {
  const all = await deps.prices.model(provider ?? null, model)
  const only = onlyProvider(model, all, pointer)
  const versions = provider === undefined ? all.filter((version) => version.provider === only) : all
  const prices = ({ pricesFrom, pricesUntil }: NamedPrice, moment: Date | string) =>
    isWithin(moment, pricesFrom, pricesUntil)
  const { price } = await findRunning(deps.clock, versions, prices, at)
  if (price !== undefined) return price
  throw await modelNotPriced(deps, provider ?? null, model, at, { usage })
}

/** Finds the rate card of a booked call, by its id or its time. Undefined on any error, because only warnings depend on it. */
export async function findCard(
  deps: PriceDeps,
  { provider, model }: { provider: string | null; model: string },
  by: { priceId: number } | { at: string | undefined },
): Promise<ModelPrice | undefined> {
  try {
    if ('at' in by) return await findPrice(deps, { provider: provider ?? undefined, model, at: by.at }, '')
    return (await deps.prices.model(provider, model)).find(({ priceId }) => Number(priceId) === by.priceId)
  } catch {
    // The cost is booked, so the request must be answered whatever the error is.
    return undefined
  }
}

/**
 * Finds the only provider that a model's name can mean; null if no provider has the model.
 *
 * @throws invalidRequest if several providers have it.
 */
export async function findProvider(deps: PriceDeps, model: string, pointer: string): Promise<string | null> {
  return onlyProvider(model, await deps.prices.model(null, model), pointer)
}

function onlyProvider(model: string, versions: readonly ModelPrice[], pointer: string): string | null {
  const provider = versions[0]?.provider ?? null
  if (versions.every((version) => version.provider === provider)) return provider
  const providers = candidateProviders(versions.map((version) => version.provider))
  if (providers.length === 1) return providers[0]!
  throw invalidRequest([
    { pointer: `${pointer}/provider`, message: `is required: ${providers.sort().join(', ')} have the model ${model}` },
  ])
}

/** A tier, or a custom size priced at the rates of tier standard. */
export type SandboxSize = { tier: string; region: string; vcpu?: number | string; memoryMib?: number }

/**
 * Prices a sandbox run of some seconds from a time (default: now), with every change of price during the run. `price` is the
 * version at the start.
 *
 * Estimates, holds and extensions all use this function, so a hold is exactly what its commit will cost.
 *
 * @param pointer where the seconds are in the request.
 * @throws price_not_found with suggestions; invalidRequest if the run goes past the last known price.
 */
export async function priceSandboxRun(
  deps: PriceDeps,
  { tier, region, vcpu, memoryMib }: SandboxSize,
  { startedAt: given, seconds }: { startedAt?: Date | string | undefined; seconds: number },
  pointer: string,
): Promise<E2bRunCost & { price: E2bPrice; costUsd: Usd }> {
  const versions = await deps.prices.e2b(tier, region)
  const prices = ({ effectiveDate, expiresAt }: E2bPrice, at: Date | string) => isWithin(at, effectiveDate, expiresAt)
  const { price, at: startedAt } = await findRunning(deps.clock, versions, prices, given)
  if (price === undefined) throw await sandboxNotPriced(deps, tier, region, given)
  const size = vcpu === undefined || memoryMib === undefined ? null : { vcpu, memoryMib }
  const { costUsd, ...run } = costOfE2bRun(versions, size, { startedAt, seconds })
  if (costUsd === null) {
    throw invalidRequest([
      { pointer, message: `runs past the last known price of tier ${tier}: ask for fewer seconds` },
    ])
  }
  return { ...run, costUsd, price }
}
