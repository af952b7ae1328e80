import { distance } from 'fastest-levenshtein'
import type { PriceCache } from '../../cache/prices.ts'
import type { DatabaseClock } from '../../db/pool/clock.ts'
import type { Db } from '../../db/pool/connection.ts'
import { listPricedTiers } from '../../db/prices/prices.ts'
import { isWithin } from '../../domain/instant.ts'
import { isCloud } from '../../domain/makers.ts'
import { tryReadProviderUsage } from '../../domain/usage/index.ts'
import { Problem, type FieldError } from '../../errors.ts'

type NearDeps = { db: Db; prices: PriceCache; clock: DatabaseClock }
type Moment = Date | string | undefined

const NEAR_MAX = 5

/** At this edit distance or more, a provider or region is a different one, not a misspelling. */
const ANOTHER_PLACE = 3

/**
 * Builds price_not_found for a model at a time (default: now). Suggests the nearest pairs of provider and name that have a
 * price then.
 *
 * @param options `errors`: where the model is in the request. `usage`: the provider's usage object that was sent; providers
 * that do not send such an object are not suggested.
 */
export async function modelNotPriced(
  deps: NearDeps,
  provider: string | null,
  model: string,
  at: Moment,
  { errors, usage }: { errors?: FieldError[]; usage?: object | undefined } = {},
): Promise<Problem> {
  const names = await deps.prices.names()
  const read = (known: (typeof names)[number]) => [known.provider, known.model] as const
  const moment = at ?? (await deps.clock.current())
  const isAccepted = (known: (typeof names)[number]) =>
    isWithin(moment, known.pricesFrom, known.pricesUntil) &&
    (usage === undefined || tryReadProviderUsage(usage, known) !== null)
  const near = nearest({ place: provider, name: model }, names, isAccepted, read).map((known) => ({
    provider: known.provider,
    model: known.model,
  }))
  const isKnown = names.some((known) => known.model === model && known.provider === (provider ?? known.provider))
  return priceNotFound({ provider, model, isKnown }, near, near.map(pairText), errors)
}

/** Builds price_not_found for a sandbox tier, with suggestions as modelNotPriced(). */
export async function sandboxNotPriced(
  deps: NearDeps,
  tier: string,
  region: string,
  at: Moment,
  errors?: FieldError[],
): Promise<Problem> {
  const tiers = await listPricedTiers(deps.db)
  const read = (known: (typeof tiers)[number]) => [known.region, known.tier] as const
  const moment = at ?? (await deps.clock.current())
  const isAccepted = (known: (typeof tiers)[number]) => isWithin(moment, known.pricesFrom, known.pricesUntil)
  const near = nearest({ place: region, name: tier }, tiers, isAccepted, read).map((known) => ({
    provider: 'e2b',
    model: known.tier,
    region: known.region,
  }))
  const isKnown = tiers.some((known) => known.tier === tier && known.region === region)
  const texts = near.map((known) => `${pairText(known)} in ${known.region}`)
  return priceNotFound({ provider: 'e2b', model: tier, isKnown }, near, texts, errors)
}

/** Reads which models and tiers have a price at any time, past or future. */
export async function readPriced(deps: NearDeps) {
  const [names, tiers] = [await deps.prices.names(), await listPricedTiers(deps.db)]
  const models = new Set(names.map(pairText))
  const sandboxes = new Set(tiers.map(({ tier, region }) => pairText({ provider: region, model: tier })))
  return {
    hasModel: (provider: string | null, model: string) =>
      provider !== null && models.has(pairText({ provider, model })),
    hasTier: (tier: string, region: string) => sandboxes.has(pairText({ provider: region, model: tier })),
  }
}

function priceNotFound(
  { provider, model, isKnown }: { provider: string | null; model: string; isKnown: boolean },
  near: object[],
  texts: string[],
  errors?: FieldError[],
): Problem {
  const asked = provider === null ? model : pairText({ provider, model })
  const then = isKnown ? ' at that time' : ''
  const hint = texts.length > 0 ? `; near ones are ${texts.join(', ')}` : ''
  return new Problem('price_not_found', `There is no price for ${asked}${then}${hint}`, {
    members: { provider, model, near, ...(errors === undefined ? {} : { errors }) },
  })
}

const pairText = ({ provider, model }: { provider: string; model: string }) => `${provider} ${model}`

/**
 * Ranks the accepted names by edit distance. A different place (provider or region) than the requested one adds 1, so the
 * right name at another place comes before wrong names. Ties are broken by the distance of the names, then a misspelt place
 * first, then makers of models before clouds, then name and place.
 */
function nearest<Known>(
  { place, name }: { place: string | null; name: string },
  all: Known[],
  isAccepted: (known: Known) => boolean,
  read: (known: Known) => readonly [place: string, name: string],
): Known[] {
  const away = new Map<string, number>()
  const awayOf = (known: string) => {
    let steps = away.get(known)
    if (steps === undefined) away.set(known, (steps = place === null ? 0 : distance(place, known)))
    return steps
  }
  const best: Ranked<Known>[] = []
  for (const known of all) {
    const [knownPlace, knownName] = read(known)
    const from = awayOf(knownPlace)
    const worst = best.length < NEAR_MAX ? Infinity : best.at(-1)!.total
    // The difference in length is a lower bound of the edit distance, so most names can be skipped.
    if (Math.abs(name.length - knownName.length) + Math.min(from, 1) > worst) continue
    const steps = distance(name, knownName)
    const total = steps + Math.min(from, 1)
    if (total > worst || !isAccepted(known)) continue
    const words = `${isCloud(knownPlace) ? 1 : 0} ${knownName} ${knownPlace}`
    best.push({ known, words, total, steps, away: Math.min(from, ANOTHER_PLACE) })
    best.sort((a, b) => a.total - b.total || a.steps - b.steps || a.away - b.away || (a.words < b.words ? -1 : 1))
    best.length = Math.min(best.length, NEAR_MAX)
  }
  return best.map(({ known }) => known)
}

type Ranked<Known> = { known: Known; words: string; total: number; steps: number; away: number }
