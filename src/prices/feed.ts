import { isObject } from '../domain/is-object.ts'
import type { PackageModel, PackageProvider, Skipped } from './package.ts'
import { SourceError } from './source-text.ts'

/**
 * Reads the valid providers and models of a feed in the package's form. Invalid entries are returned with the reason,
 * so that one bad entry does not affect the others.
 *
 * @throws SourceError if the feed is not a list of providers with models.
 */
export function readFeed(json: unknown): { providers: PackageProvider[]; broken: Skipped[] } {
  if (!Array.isArray(json) || json.length === 0) throw new SourceError('the feed is not a list of providers')
  const broken: Skipped[] = []
  const providers = new Map<string, PackageProvider>()
  for (const provider of json as unknown[]) {
    if (!isObject(provider) || !isName(provider['id']) || !Array.isArray(provider['models'])) {
      broken.push({ provider: idOf(provider), model: '', reason: 'is not a provider with an id and models' })
      continue
    }
    const { id } = provider
    if (providers.has(id)) {
      broken.push({ provider: id, model: '', reason: 'is listed twice' })
      continue
    }
    const models = new Map<string, PackageModel>()
    for (const model of provider['models'] as unknown[]) {
      const problem = problemOf(model) ?? (models.has(idOf(model)) ? 'is listed twice' : null)
      if (problem === null) models.set(idOf(model), model as PackageModel)
      else broken.push({ provider: id, model: idOf(model), reason: problem })
    }
    providers.set(id, { id, models: [...models.values()] })
  }
  if (![...providers.values()].some(({ models }) => models.length > 0)) throw new SourceError('the feed has no models')
  return { providers: [...providers.values()], broken }
}

/**
 * Merges package and feed: a feed model replaces the package's model of the same name; models that the feed lacks
 * stay.
 */
export function withFeed(own: readonly PackageProvider[], feed: readonly PackageProvider[]): PackageProvider[] {
  const all = new Map(own.map(({ id, models }) => [id, new Map(models.map((model) => [model.id, model]))]))
  for (const { id, models } of feed) {
    const known = all.get(id) ?? new Map<string, PackageModel>()
    all.set(id, known)
    for (const model of models) known.set(model.id, model)
  }
  return [...all].map(([id, models]) => ({ id, models: [...models.values()] }))
}

/** Why an entry cannot be read as a model; null if it can. Does not judge whether its prices are plausible. */
function problemOf(model: unknown): string | null {
  if (!isObject(model) || !isName(model['id'])) return 'has no id'
  const { prices } = model
  if (isObject(prices)) return areRates(prices) ? null : 'has rates that are no numbers'
  if (!Array.isArray(prices) || prices.length === 0) return 'has no prices'
  for (const dated of prices as unknown[]) {
    if (!isObject(dated) || !isObject(dated['prices'])) return 'has no prices'
    if (!areRates(dated['prices'])) return 'has rates that are no numbers'
    const { constraint } = dated
    if (constraint === undefined || constraint === null) continue
    if (!isObject(constraint)) return 'has a condition that is not known'
    const date = constraint['start_date']
    if (date !== undefined && (typeof date !== 'string' || !isDay(date))) return 'has a start date that is no date'
    if (date === undefined && constraint['type'] !== 'time_of_date') return 'has a condition that is not known'
  }
  return null
}

function areRates(prices: Record<string, unknown>): boolean {
  return Object.values(prices).every((price) => {
    if (price === undefined || Number.isFinite(price)) return true
    if (!isObject(price) || !Number.isFinite(price['base']) || !Array.isArray(price['tiers'])) return false
    return (price['tiers'] as unknown[]).every(
      (tier) => isObject(tier) && Number.isSafeInteger(tier['start']) && Number.isFinite(tier['price']),
    )
  })
}

function isDay(text: string): boolean {
  const at = Date.parse(`${text}T00:00:00Z`)
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(at) && new Date(at).toISOString().startsWith(text)
}

const isName = (value: unknown): value is string => typeof value === 'string' && value.length > 0 && value.length <= 200
const idOf = (value: unknown) => (isObject(value) && isName(value['id']) ? value['id'] : '')
