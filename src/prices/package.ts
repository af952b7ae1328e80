import { readFile } from 'node:fs/promises'
import { decimal, usdText } from '../domain/money.ts'
import type { Bucket, Fee, Rates } from '../domain/price.ts'

/** A rate card to publish, as publish_model_prices takes it. Decimals are text. */
export type PriceVersion = {
  provider: string
  model: string
  /** RFC 3339, UTC. */
  effective_date: string
  source: string
  usd_per_mtok: Rates
  usd_per_unit: Partial<Record<Fee, string>>
  long_context: { input_tokens_over: number; usd_per_mtok: Rates } | null
  modifiers: Record<string, string>
  /** Other names of the model, matched exactly. On its first version only. */
  aliases?: string[]
  /** The model whose rates were copied, if another provider sells it. Not published. */
  copy_of?: { provider: string; model: string }
}

/** A model that cannot be published, and why. It stays unknown until an admin prices it. */
export type Skipped = { provider: string; model: string; reason: string }

export type PackagePrices = { versions: PriceVersion[]; skipped: Skipped[] }

/** The start of a version whose start is unknown. */
const NO_KNOWN_START = '1970-01-01T00:00:00Z'

/**
 * The providers in the package's data. The package has no list to ask for; a test compares this one with its data.
 */
export const PACKAGE_PROVIDERS: readonly string[] = [
  'anthropic',
  'arcee',
  'avian',
  'aws',
  'azure',
  'baseten',
  'cerebras',
  'cloudflare',
  'cohere',
  'cursor',
  'deepseek',
  'doubleword',
  'fireworks',
  'github-copilot',
  'google',
  'groq',
  'huggingface_cerebras',
  'huggingface_fireworks-ai',
  'huggingface_groq',
  'huggingface_hyperbolic',
  'huggingface_nebius',
  'huggingface_novita',
  'huggingface_nscale',
  'huggingface_ovhcloud',
  'huggingface_publicai',
  'huggingface_sambanova',
  'huggingface_together',
  'minimax',
  'mistral',
  'modal',
  'moonshotai',
  'novita',
  'openai',
  'openrouter',
  'ovhcloud',
  'perplexity',
  'quicksilverpro',
  'together',
  'typesafe',
  'voyageai',
  'x-ai',
  'zai',
  'zhipuai',
]

/** The part of the package's own types that we read. Its feed has the same form. */
export type PackageProvider = { id: string; models: PackageModel[] }
export type PackageModel = { id: string; match: unknown; prices: PackagePrice | PackageConditionalPrice[] }
type PackageConditionalPrice = {
  constraint?: { type?: string; start_date?: string }
  prices: PackagePrice
}
export type PackagePrice = Record<
  string,
  number | { base: number; tiers: { start: number; price: number }[] } | undefined
>

/**
 * Reads the package's price data. This loads the package (about 19 MB of memory), so call it only before publishing.
 */
export async function readPackage(): Promise<PackageProvider[]> {
  const { findProvider } = await import('@pydantic/genai-prices')
  const providers: PackageProvider[] = []
  for (const providerId of PACKAGE_PROVIDERS) {
    const provider = findProvider({ providerId })
    // findProvider() also matches similar names. Only the exact id counts.
    if (provider?.id === providerId) providers.push(provider)
  }
  return providers
}

/** The URL where the package looks for newer data. */
export async function packageFeedUrl(): Promise<string> {
  return (await import('@pydantic/genai-prices')).REMOTE_DATA_JSON_URL
}

/** The package's release, read from its manifest so that its data is not loaded. */
export async function packageRelease(): Promise<string> {
  const manifest = new URL('../package.json', import.meta.resolve('@pydantic/genai-prices'))
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string }
  return version
}

/**
 * Makes versions of rate cards from the package's data or its feed. Ids are exact; aliases are the names that match
 * rules list in full.
 *
 * Rules by prefix, part or pattern are left out, because they match sibling models. Rates are taken as written: the
 * package computes in binary floating point, so its arithmetic is not used.
 */
export function versionsOf(providers: readonly PackageProvider[], source: string): PackagePrices {
  const versions: PriceVersion[] = []
  const skipped: Skipped[] = []
  for (const provider of providers) {
    const ids = new Set(provider.models.map((model) => model.id))
    const claimed = new Set<string>()
    for (const model of provider.models) {
      const problem = unpublishable(model)
      if (problem !== null) {
        skipped.push({ provider: provider.id, model: model.id, reason: problem })
        continue
      }
      // The package applies the first rule that matches, and a model with a card of its own is never an alias.
      const aliases = exactNames(model.match).filter((name) => !ids.has(name) && !claimed.has(name))
      for (const alias of aliases) claimed.add(alias)
      const cards = datedCards(model).map(({ effectiveDate, prices }) => ({
        provider: provider.id,
        model: model.id,
        effective_date: effectiveDate,
        source,
        ...cardOf(prices),
        modifiers: {},
      }))
      for (const [index, card] of cards.entries()) versions.push(index === 0 ? { ...card, aliases } : card)
    }
  }
  return { versions, skipped }
}

const MTOK_KEYS: Readonly<Record<string, Bucket>> = {
  input_mtok: 'input',
  cache_read_mtok: 'cache_read',
  cache_audio_read_mtok: 'cache_read_audio',
  cache_image_read_mtok: 'cache_read_image',
  cache_write_mtok: 'cache_write',
  cache_write_1h_mtok: 'cache_write_1h',
  input_audio_mtok: 'audio_input',
  input_image_mtok: 'image_input',
  input_video_mtok: 'video_input',
  output_mtok: 'output',
  output_reasoning_mtok: 'reasoning',
  output_audio_mtok: 'audio_output',
  output_image_mtok: 'image_output',
  output_video_mtok: 'video_output',
}

const THOUSAND_KEYS: Readonly<Record<string, Fee>> = { web_searches_kcount: 'web_search', requests_kcount: 'request' }

/** Prices for a tool that usage does not count. They are ignored; the tokens are still priced. */
const UNCOUNTED_KEYS: ReadonlySet<string> = new Set(['storage_searches_kcount'])

/**
 * Corrects thresholds that the package sets one token too low: it writes 271,999 for OpenAI's 272,000, so that
 * exactly 272,000 tokens would count as a long context.
 */
const CORRECTED_THRESHOLDS: ReadonlyMap<number, number> = new Map([[271_999, 272_000]])

/**
 * Why a model's cards cannot be published; null if they can. If usage cannot count what a price is per, that part
 * would be free.
 */
function unpublishable(model: PackageModel): string | null {
  for (const { prices } of conditionalPrices(model)) {
    const keys = Object.keys(prices).filter((key) => prices[key] !== undefined)
    // The package gives free models no prices at all. That is believed only if the name says free.
    if (keys.length === 0) return model.id.endsWith(':free') ? null : 'has no prices'
    for (const key of keys) {
      if (!(key in MTOK_KEYS) && !(key in THOUSAND_KEYS) && !UNCOUNTED_KEYS.has(key)) return `is priced by ${key}`
    }
    if (prices['input_mtok'] === undefined) return 'has no input rate'
    if (thresholdsOf(prices).length > 1) return 'has several long-context thresholds'
  }
  return null
}

function cardOf(prices: PackagePrice): Pick<PriceVersion, 'usd_per_mtok' | 'usd_per_unit' | 'long_context'> {
  const usdPerMtok: Rates = {}
  const longUsdPerMtok: Rates = {}
  const usdPerUnit: Partial<Record<Fee, string>> = {}
  for (const [key, price] of Object.entries(prices)) {
    if (price === undefined) continue
    const bucket = MTOK_KEYS[key]
    const fee = THOUSAND_KEYS[key]
    if (bucket !== undefined) {
      usdPerMtok[bucket] = rateText(typeof price === 'number' ? price : price.base)
      const [tier] = typeof price === 'number' ? [] : price.tiers
      if (tier !== undefined) longUsdPerMtok[bucket] = rateText(tier.price)
    }
    if (fee !== undefined && typeof price === 'number')
      usdPerUnit[fee] = usdText(decimal(price).times(decimal('0.001')))
  }
  const [threshold] = thresholdsOf(prices)
  if (usdPerMtok.input === undefined)
    return { usd_per_mtok: { input: '0', output: '0' }, usd_per_unit: {}, long_context: null }
  return {
    usd_per_mtok: usdPerMtok,
    usd_per_unit: usdPerUnit,
    long_context: threshold === undefined ? null : { input_tokens_over: threshold, usd_per_mtok: longUsdPerMtok },
  }
}

function thresholdsOf(prices: PackagePrice): number[] {
  const starts = Object.values(prices)
    .flatMap((price) => (typeof price === 'object' ? price.tiers : []))
    .map((t) => t.start)
  return [...new Set(starts.map((start) => CORRECTED_THRESHOLDS.get(start) ?? start))]
}

type DatedCard = { effectiveDate: string; prices: PackagePrice }

/**
 * The cards by date. If a price depends on the time of day, the highest counts all day, from the last start on: a
 * version holds for whole days, and an amount must not be too small.
 */
function datedCards(model: PackageModel): DatedCard[] {
  const conditional = conditionalPrices(model)
  const cards: DatedCard[] = []
  for (const { constraint, prices } of conditional) {
    if (constraint === undefined) cards.push({ effectiveDate: NO_KNOWN_START, prices })
    else if (constraint.start_date !== undefined) {
      cards.push({ effectiveDate: `${constraint.start_date}T00:00:00Z`, prices })
    }
  }
  cards.sort((one, other) => (one.effectiveDate < other.effectiveDate ? -1 : 1))
  const last = cards.at(-1)
  if (last !== undefined) {
    for (const { constraint, prices } of conditional) {
      if (constraint?.type === 'time_of_date' && inputOf(prices) > inputOf(last.prices)) last.prices = prices
    }
  }
  return cards
}

function conditionalPrices(model: PackageModel): PackageConditionalPrice[] {
  return Array.isArray(model.prices) ? model.prices : [{ prices: model.prices }]
}

function inputOf(prices: PackagePrice): number {
  const input = prices['input_mtok']
  return typeof input === 'object' ? input.base : (input ?? 0)
}

/** The names that a match rule lists in full: `equals`, alone or among alternatives. */
function exactNames(match: unknown): string[] {
  if (typeof match !== 'object' || match === null) return []
  if ('equals' in match && typeof match.equals === 'string') return [match.equals]
  if ('or' in match && Array.isArray(match.or)) return match.or.flatMap(exactNames)
  return []
}

/** A rate as its shortest decimal text, in plain digits. */
function rateText(rate: number): string {
  return usdText(decimal(rate))
}
