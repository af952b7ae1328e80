import { distance } from 'fastest-levenshtein'
import type { PriceCache } from '../cache/prices.ts'
import type { DatabaseClock } from '../db/clock.ts'
import type { Db } from '../db/connection.ts'
import { listPricedTiers } from '../db/prices.ts'
import { isWithin } from '../domain/instant.ts'
import { isCloud } from '../domain/makers.ts'
import { Problem, type FieldError } from '../errors.ts'

type NearDeps = { db: Db; prices: PriceCache; clock: DatabaseClock }
type Moment = Date | string | undefined

const NEAR_MAX = 5

/**
 * That a model has no price at a moment (default: now), with the nearest pairs of provider and name that have one then.
 * `errors` says where it stands in the request.
 */
export async function modelNotPriced(
  deps: NearDeps,
  provider: string | null,
  model: string,
  at: Moment,
  errors?: FieldError[],
): Promise<Problem> {
  const names = await deps.prices.names()
  const read = (known: (typeof names)[number]) => [known.provider, known.model] as const
  const near = nearest({ place: provider, name: model }, names, at ?? (await deps.clock.current()), read).map(
    (known) => ({ provider: known.provider, model: known.model }),
  )
  const isKnown = names.some((known) => known.model === model && known.provider === (provider ?? known.provider))
  return priceNotFound({ provider, model, isKnown }, near, near.map(pairText), errors)
}

/** That a sandbox's size has no price at a moment (default: now), with the nearest that have one then; likewise. */
export async function sandboxNotPriced(
  deps: NearDeps,
  tier: string,
  region: string,
  at: Moment,
  errors?: FieldError[],
): Promise<Problem> {
  const tiers = await listPricedTiers(deps.db)
  const read = (known: (typeof tiers)[number]) => [known.region, known.tier] as const
  const near = nearest({ place: region, name: tier }, tiers, at ?? (await deps.clock.current()), read).map((known) => ({
    provider: 'e2b',
    model: known.tier,
    region: known.region,
  }))
  const isKnown = tiers.some((known) => known.tier === tier && known.region === region)
  const texts = near.map((known) => `${pairText(known)} in ${known.region}`)
  return priceNotFound({ provider: 'e2b', model: tier, isKnown }, near, texts, errors)
}

/** What has a price at some time, be it past or ahead. */
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
 * What has a price at a moment, by the letters in which the names differ, where another place than the one that was named
 * counts as one more: so the right name in a wrong place comes before wrong names. What differs as much goes by the name,
 * then by the place; clouds come after makers.
 */
function nearest<Known extends { pricesFrom: string; pricesUntil: string | null }>(
  { place, name }: { place: string | null; name: string },
  all: Known[],
  moment: Date | string,
  read: (known: Known) => readonly [place: string, name: string],
): Known[] {
  const places = new Set(all.map((known) => read(known)[0]))
  const away = new Map([...places].map((known) => [known, place === null ? 0 : distance(place, known)]))
  const ranked = all
    .map((known) => {
      const [knownPlace, knownName] = read(known)
      const steps = distance(name, knownName)
      const from = away.get(knownPlace)!
      return {
        known,
        words: `${isCloud(knownPlace) ? 1 : 0} ${knownName} ${knownPlace}`,
        total: steps + Math.min(from, 1),
        steps,
        away: from,
      }
    })
    .sort((a, b) => a.total - b.total || a.steps - b.steps || a.away - b.away || (a.words < b.words ? -1 : 1))
  const found: Known[] = []
  for (const { known } of ranked) {
    if (isWithin(moment, known.pricesFrom, known.pricesUntil)) found.push(known)
    if (found.length === NEAR_MAX) break
  }
  return found
}
