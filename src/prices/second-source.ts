import { isObject } from '../domain/is-object.ts'
import { decimal, usdText } from '../domain/money.ts'
import type { Bucket, Rates } from '../domain/price.ts'
import { SourceError } from './source-text.ts'

/** What a second source says about a model at a given time. Buckets that it leaves out are not compared. */
export type SecondPrice = {
  provider: string
  model: string
  usd_per_mtok: Rates
  long_context: { input_tokens_over: number; usd_per_mtok: Rates } | null
}

export type SecondSource = {
  /** The day of its figures; null if it gives none. */
  asOf: string | null
  pricesAt(at: Date): SecondPrice[]
}

/**
 * Reads a second source: dated facts as the project keeps them, or the form of models.dev.
 *
 * @throws SourceError if it has neither form. Invalid entries are left out: a source for comparison may have gaps.
 */
export function readSecondSource(json: unknown): SecondSource {
  if (isObject(json) && Array.isArray(json['models'])) return readFacts(json, json['models'])
  if (isObject(json) && Object.values(json).some((provider) => isObject(provider) && isObject(provider['models']))) {
    return readModelsDev(json)
  }
  throw new SourceError('the second source is neither a list of facts nor in the form of models.dev')
}

function readFacts(json: Record<string, unknown>, models: unknown[]): SecondSource {
  const facts = models.filter(isObject)
  return {
    asOf: typeof json['as_of'] === 'string' ? json['as_of'] : null,
    pricesAt: (at) =>
      facts.flatMap((fact) => {
        const { provider, model } = fact
        if (typeof provider !== 'string' || typeof model !== 'string') return []
        const long = isObject(fact['long_context']) ? fact['long_context'] : null
        const over = long?.['input_tokens_over']
        return [
          {
            provider,
            model,
            usd_per_mtok: factRatesAt(fact, at),
            long_context:
              long !== null && typeof over === 'number'
                ? { input_tokens_over: over, usd_per_mtok: ratesOf(long['usd_per_mtok']) }
                : null,
          },
        ]
      }),
  }
}

/** The rates of a fact at a given time: before past changes, or after scheduled ones. */
function factRatesAt(fact: Record<string, unknown>, at: Date): Rates {
  let rates = ratesOf(fact['usd_per_mtok'])
  for (const { until, usd_per_mtok: before } of objects(fact['history']))
    if (at < dayOf(until)) rates = { ...rates, ...ratesOf(before) }
  for (const { from, usd_per_mtok: after } of objects(fact['scheduled']))
    if (at >= dayOf(from)) rates = { ...rates, ...ratesOf(after) }
  return rates
}

/** Providers with another name on models.dev. */
const OTHER_NAMES: Readonly<Record<string, string>> = { xai: 'x-ai' }
const COST_BUCKETS: Readonly<Record<string, Bucket>> = {
  input: 'input',
  output: 'output',
  cache_read: 'cache_read',
  cache_write: 'cache_write',
  input_audio: 'audio_input',
  output_audio: 'audio_output',
}
const LONG_TOKENS = 200_000

function readModelsDev(json: Record<string, unknown>): SecondSource {
  const prices: SecondPrice[] = []
  for (const [provider, { models }] of Object.entries(json).filter(
    (entry): entry is [string, Record<string, unknown>] => isObject(entry[1]),
  )) {
    if (!isObject(models)) continue
    for (const [model, described] of Object.entries(models)) {
      const cost = isObject(described) ? described['cost'] : undefined
      if (!isObject(cost)) continue
      const long = cost['context_over_200k']
      prices.push({
        provider: OTHER_NAMES[provider] ?? provider,
        model,
        usd_per_mtok: ratesOfCost(cost),
        long_context: isObject(long) ? { input_tokens_over: LONG_TOKENS, usd_per_mtok: ratesOfCost(long) } : null,
      })
    }
  }
  return { asOf: null, pricesAt: () => prices }
}

function ratesOfCost(cost: Record<string, unknown>): Rates {
  return ratesOf(
    Object.fromEntries(
      Object.entries(COST_BUCKETS).flatMap(([name, bucket]) =>
        cost[name] === undefined ? [] : [[bucket, cost[name]]],
      ),
    ),
  )
}

function ratesOf(value: unknown): Rates {
  if (!isObject(value)) return {}
  return Object.fromEntries(
    Object.entries(value).flatMap(([bucket, rate]) =>
      typeof rate === 'number' && Number.isFinite(rate) && rate >= 0 ? [[bucket, usdText(decimal(rate))]] : [],
    ),
  )
}

const dayOf = (value: unknown) => new Date(typeof value === 'string' ? `${value}T00:00:00Z` : NaN)
const objects = (value: unknown) => (Array.isArray(value) ? value.filter(isObject) : [])
