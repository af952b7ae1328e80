import { readFile } from 'node:fs/promises'
import { decimal, usdText } from '../domain/money.ts'
import type { Bucket, Fee, Rates } from '../domain/price.ts'
import { E2B_PRESETS } from '../domain/e2b.ts'
import {
  mirrored,
  modelKey,
  withAliases,
  type OverlayAlias,
  type OverlayMirror,
  type OverlayNames,
} from './overlay-names.ts'
import type { PriceVersion } from './package.ts'

/**
 * The project's own prices, dated by edition: what the package lacks, has wrong or cannot express. They win over the
 * package. Decimals are text, and each entry says why it exists.
 */
export type Overlay = {
  /** The day of the facts, as in `overlay 2026-11-10`. */
  edition: string
  models: OverlayModel[]
  mirrors: OverlayMirror[]
  aliases: OverlayAlias[]
  names: OverlayNames[]
  terms: OverlayTerms[]
  e2b: OverlayE2b
}

type OverlayModel = {
  provider: string
  model: string
  why: string
  /** In order of date. From the first date on they replace the package's versions; earlier ones stay. */
  versions: {
    effective_date: string
    usd_per_mtok: Rates
    usd_per_unit?: Partial<Record<Fee, string>>
    long_context?: { input_tokens_over: number; usd_per_mtok: Rates }
    modifiers?: Record<string, string>
  }[]
}

/**
 * Rates, fees and modifiers for all models of a provider whose id matches. They fill in what a card does not state.
 * If several terms set the same value, the last one counts.
 */
type OverlayTerms = {
  provider: string
  /** A regular expression over model ids. */
  models: string
  why: string
  /** Rates as multiples of the card's input rate; in a long context, of its long-context input rate. */
  times_input?: Rates
  usd_per_unit?: Partial<Record<Fee, string>>
  modifiers?: Record<string, string>
}

type OverlayE2b = {
  why: string
  region: string
  effective_date: string
  usd_per_vcpu_second: string
  usd_per_gib_second: string
}

/** A version of the sandbox rate card, as publish_e2b_prices takes it. */
export type E2bPriceVersion = {
  tier: string
  region: string
  vcpu: number | string
  memory_mib: number
  usd_per_vcpu_second: string
  usd_per_gib_second: string
  effective_date: string
  source: string
}

/**
 * Reads the overlay of this release, with its text. By the hash of the text, a start knows whether it was published.
 */
export async function readOverlay(): Promise<{ overlay: Overlay; text: string }> {
  const text = await readFile(new URL('./overlay.json', import.meta.url), 'utf8')
  return { overlay: JSON.parse(text) as Overlay, text }
}

/**
 * Lays the overlay over the package's versions: its models replace theirs from their first date on, its mirrors add
 * cards that a provider lacks, its terms fill in rates, fees and modifiers, and its names win.
 *
 * @throws Error if an alias of the overlay names no model, which is a mistake in the file.
 */
export function layOver(versions: readonly PriceVersion[], overlay: Overlay): PriceVersion[] {
  const source = `overlay ${overlay.edition}`
  const byModel = Map.groupBy(versions, modelKey)
  for (const model of overlay.models) {
    const cards = model.versions.map((card) => ({
      provider: model.provider,
      model: model.model,
      effective_date: card.effective_date,
      source,
      usd_per_mtok: card.usd_per_mtok,
      usd_per_unit: card.usd_per_unit ?? {},
      long_context: card.long_context ?? null,
      modifiers: card.modifiers ?? {},
    }))
    const firstDate = cards[0]?.effective_date ?? ''
    const before = (byModel.get(modelKey(model)) ?? []).filter((card) => card.effective_date < firstDate)
    byModel.set(modelKey(model), [...before, ...cards])
  }
  const withSource = (theirs: string) => (theirs.endsWith(source) ? theirs : `${theirs} + ${source}`)
  const known = [...byModel.values()]
  const models = [...known, ...mirrored(known, overlay, withSource)]
  const merged = models.map((cards) => cards.map((card) => withTerms(card, overlay.terms, withSource)))
  return withAliases(merged, overlay).flat()
}

/** The sandbox rate cards of all presets, at the one rate of the overlay. */
export function e2bVersions(overlay: Overlay): E2bPriceVersion[] {
  const { region, effective_date, usd_per_vcpu_second, usd_per_gib_second } = overlay.e2b
  return Object.entries(E2B_PRESETS).map(([tier, { vcpu, memoryMib }]) => ({
    tier,
    region,
    vcpu,
    memory_mib: memoryMib,
    usd_per_vcpu_second,
    usd_per_gib_second,
    effective_date,
    source: `overlay ${overlay.edition}`,
  }))
}

function withTerms(
  card: PriceVersion,
  terms: readonly OverlayTerms[],
  signed: (source: string) => string,
): PriceVersion {
  const own = terms.filter(({ provider, models }) => provider === card.provider && new RegExp(models).test(card.model))
  if (own.length === 0) return card
  const timesInput = own.reduce<Rates>((rates, term) => ({ ...rates, ...term.times_input }), {})
  const { long_context: long } = card
  return {
    ...card,
    source: signed(card.source),
    usd_per_mtok: withMultiples(card.usd_per_mtok, timesInput),
    long_context: long && { ...long, usd_per_mtok: withMultiples(long.usd_per_mtok, timesInput) },
    usd_per_unit: own.reduceRight((fees, term) => ({ ...term.usd_per_unit, ...fees }), card.usd_per_unit),
    modifiers: own.reduceRight((modifiers, term) => ({ ...term.modifiers, ...modifiers }), card.modifiers),
  }
}

function withMultiples(rates: Rates, timesInput: Rates): Rates {
  const { input } = rates
  if (input === undefined) return rates
  const multiples = Object.entries(timesInput).map(([bucket, factor]): [Bucket, string] => [
    bucket as Bucket,
    usdText(decimal(input).times(decimal(factor))),
  ])
  return { ...Object.fromEntries(multiples), ...rates }
}
