import { distance } from 'fastest-levenshtein'
import type { PriceCache } from '../cache/prices.ts'
import type { DatabaseClock } from '../db/clock.ts'
import type { Db } from '../db/connection.ts'
import { listPricedTiers, type NamedPrice } from '../db/prices.ts'
import { costOfE2bRun, type E2bPrice, type E2bRunCost } from '../domain/e2b.ts'
import type { Usd } from '../domain/money.ts'
import { epochMicros } from '../domain/instant.ts'
import type { ModelPrice } from '../domain/price.ts'
import { Problem, invalidRequest, type FieldError } from '../errors.ts'

export type PriceDeps = { db: Db; prices: PriceCache; clock: DatabaseClock }

const NEAR_MAX = 5
export const DEFAULT_REGION = 'us-east-1'

/** A text is compared to the microsecond. A Date, which each reservation asks for, has whole milliseconds: that is cheaper. */
function isWithin(at: Date | string, from: string, until: string | null): boolean {
  if (at instanceof Date)
    return Date.parse(from) <= at.getTime() && (until === null || at.getTime() < Date.parse(until))
  const moment = epochMicros(at)
  return epochMicros(from) <= moment && (until === null || moment < epochMicros(until))
}

/**
 * The version that prices a moment, and which moment that was; without one it is now. Before none is found for now, Postgres
 * is asked for the time: it may have been set anew since the last answer.
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

/**
 * The rate card of a model at a moment (default: now). Without a provider, that of the one that its name alone means.
 *
 * @throws price_not_found with near names; invalidRequest where several providers have the model and none is named.
 */
export async function findPrice(
  deps: PriceDeps,
  { provider, model, at }: { provider?: string | undefined; model: string; at?: Date | string | undefined },
  pointer: string,
): Promise<ModelPrice> {
  const all = await deps.prices.model(provider ?? null, model)
  const only = onlyProvider(model, all, pointer)
  const versions = provider === undefined ? all.filter((version) => version.provider === only) : all
  const prices = ({ pricesFrom, pricesUntil }: NamedPrice, moment: Date | string) =>
    isWithin(moment, pricesFrom, pricesUntil)
  const { price } = await findRunning(deps.clock, versions, prices, at)
  if (price !== undefined) return price
  throw await modelNotPriced(deps, provider ?? null, model)
}

/**
 * The one provider that a model's name alone means; null where nobody has it.
 *
 * @throws invalidRequest where it may mean several.
 */
export async function findProvider(deps: PriceDeps, model: string, pointer: string): Promise<string | null> {
  return onlyProvider(model, await deps.prices.model(null, model), pointer)
}

function onlyProvider(model: string, versions: readonly ModelPrice[], pointer: string): string | null {
  const provider = versions[0]?.provider ?? null
  if (versions.every((version) => version.provider === provider)) return provider
  const providers = meantProviders(versions)
  if (providers.length === 1) return providers[0]!
  throw invalidRequest([
    { pointer: `${pointer}/provider`, message: `is required: ${providers.sort().join(', ')} have the model ${model}` },
  ])
}

const MAKERS: ReadonlySet<string> = new Set(['anthropic', 'openai'])
/** They sell the makers' models under the same names. */
const CLOUDS: ReadonlySet<string> = new Set(['aws', 'azure', 'google'])

/** The providers that a model's name alone may mean: those that have it, without the clouds where its maker is among them. */
export function meantProviders(versions: readonly ModelPrice[]): string[] {
  const providers = [...new Set(versions.map((version) => version.provider))]
  return providers.some((provider) => MAKERS.has(provider))
    ? providers.filter((provider) => !CLOUDS.has(provider))
    : providers
}

/** That a model has no price, with near names. `errors` says where it stands in the request. */
export async function modelNotPriced(
  deps: PriceDeps,
  provider: string | null,
  model: string,
  errors?: FieldError[],
): Promise<Problem> {
  const named = provider === null ? model : `${provider}/${model}`
  const names = (await deps.prices.names()).map((known) =>
    provider === null ? known.model : `${known.provider}/${known.model}`,
  )
  const near = nearest(named, names).map((name) => (provider === null ? name : name.slice(name.indexOf('/') + 1)))
  return priceNotFound(provider, model, near, errors)
}

/** A tier, or a size of its own at the rates of tier standard. */
export type SandboxSize = { tier: string; region: string; vcpu?: number | string; memoryMib?: number }

/**
 * What a sandbox costs that runs for so many seconds from a moment (default: now), over every change of price on the way.
 * Estimates, holds and extensions all ask here, so a hold is what its commit will cost. `price` is the version at the start.
 *
 * @param pointer where the seconds stand in the request.
 * @throws price_not_found with near names; invalidRequest where the run goes past the last known price.
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
  if (price === undefined) throw await sandboxNotPriced(deps, tier, region)
  const size = vcpu === undefined || memoryMib === undefined ? null : { vcpu, memoryMib }
  const { costUsd, ...run } = costOfE2bRun(versions, size, { startedAt, seconds })
  if (costUsd === null) {
    throw invalidRequest([
      { pointer, message: `runs past the last known price of tier ${tier}: ask for fewer seconds` },
    ])
  }
  return { ...run, costUsd, price }
}

/** That a sandbox's size has no price, with near names. `errors` says where it stands in the request. */
export async function sandboxNotPriced(
  deps: PriceDeps,
  tier: string,
  region: string,
  errors?: FieldError[],
): Promise<Problem> {
  const tiers = await listPricedTiers(deps.db)
  const near = tiers.filter((known) => known.region === region).map((known) => known.tier)
  return priceNotFound(
    'e2b',
    tier,
    near.length > 0 ? nearest(tier, near) : tiers.map((known) => `${known.tier} in ${known.region}`),
    errors,
  )
}

function priceNotFound(provider: string | null, model: string, near: string[], errors?: FieldError[]): Problem {
  const hint = near.length > 0 ? `; near names are ${near.join(', ')}` : ''
  return new Problem(
    'price_not_found',
    `There is no price for ${provider === null ? '' : `${provider} `}${model}${hint}`,
    {
      members: { provider, model, near, ...(errors === undefined ? {} : { errors }) },
    },
  )
}

function nearest(name: string, names: string[]): string[] {
  return [...new Set(names)]
    .map((known) => ({ known, steps: distance(name, known) }))
    .sort((a, b) => a.steps - b.steps || (a.known < b.known ? -1 : 1))
    .slice(0, NEAR_MAX)
    .map(({ known }) => known)
}
