import { decimal, usdText, type Usd } from '../../domain/money.ts'
import { gapsOf, mayHear, tierGap, type PriceGap } from '../../domain/price-gaps.ts'
import { billedTier, isPlainTier, type Asked, type ModelPrice } from '../../domain/price.ts'
import type { Reading } from '../../domain/usage/index.ts'
import type { UsageWarning } from '../../schemas/usage.ts'
import { showUsd } from '../answers.ts'
import { findCard, type PriceDeps } from '../prices/price-lookup.ts'
import type { Principal } from '../keys/principal.ts'
import type { EmitUnread } from './unread-fields.ts'

/** An answer has at most this many warnings. */
const WARNINGS_MAX = 50

/** The cost that a provider reports may differ from ours by this share of the larger of the two without a warning. */
const TOLERATED_SHARE = '0.01'

/**
 * Makes the warnings about a usage that was read and priced.
 *
 * @param price the rate card that was used; undefined if it is not known, or if the caller gave the cost in money.
 * @param costUsd the cost of the usage.
 */
export function usageWarnings(
  reading: Reading,
  { price, costUsd, asked }: { price: ModelPrice | undefined; costUsd: Usd; asked: Asked },
): UsageWarning[] {
  const warnings = noteWarnings(reading)
  if (price !== undefined) {
    for (const gap of gapsOf(price, reading.usage, asked, reading)) warnings.push(gapWarning(gap, reading))
  }
  const difference = costDifference(reading, costUsd)
  if (difference !== null) warnings.push(difference)
  return warnings.slice(0, WARNINGS_MAX)
}

export type BookedWarningDeps = PriceDeps & { emitUnread: EmitUnread }

/** How a usage was priced. `by` finds the rate card by its id or its time; null if no card priced it. */
export type Booked = {
  provider: string | null
  model: string | null
  by: { priceId: number } | { at: string | undefined } | null
  asked: Asked
  costUsd: Usd
}

/** Makes the warnings about a booked usage, and emits usage.unread for numbers that nothing reads. Never throws. */
export async function bookedWarnings(
  deps: BookedWarningDeps,
  principal: Principal,
  reading: Reading,
  { provider, model, by, asked, costUsd }: Booked,
): Promise<UsageWarning[]> {
  await deps.emitUnread(principal.id, provider, reading)
  const price =
    by !== null && model !== null && needsCard(reading, model, asked)
      ? await findCard(deps, { provider, model }, by)
      : undefined
  return usageWarnings(reading, { price, costUsd, asked })
}

/** Turns the notes of the usage reader into warnings. */
export function noteWarnings({ notes }: Reading): UsageWarning[] {
  return notes.map(({ code, pointer, detail }) => ({ code, pointer, detail }))
}

/** Tells whether the warnings depend on the rate card. For most usages they do not, so the card need not be read. */
function needsCard({ usage, isAggregate }: Reading, model: string, asked: Asked): boolean {
  const tier = billedTier(usage.service_tier, asked.serviceTier)
  return (
    isAggregate ||
    mayHear({ model }) ||
    (tier !== null && !isPlainTier(tier)) ||
    usage.region !== undefined ||
    (usage.requests ?? 1) > 1 ||
    RARE.some((name) => (usage[name] ?? 0) > 0)
  )
}

/** Quantities for which some rate cards have no rate. */
const RARE = [
  'web_searches',
  'cache_read_audio_tokens',
  'cache_read_image_tokens',
  'cache_write_1h_tokens',
  'cache_write_12h_tokens',
  'audio_input_tokens',
  'audio_output_tokens',
  'image_output_tokens',
  'video_output_tokens',
] as const

/** Makes the warnings about the requested service tier, before any usage is known. */
export function tierWarnings(price: ModelPrice, tier: string | null | undefined): UsageWarning[] {
  const gap = tierGap(price, undefined, tier)
  return gap === null ? [] : [gapWarning(gap)]
}

function gapWarning({ code, field, detail }: PriceGap, reading?: Reading): UsageWarning {
  if (field === null) return { code, detail }
  return { code, pointer: reading?.pointers[field] ?? `/${field}`, detail }
}

function costDifference({ reportedUsd }: Reading, costUsd: Usd): UsageWarning | null {
  if (reportedUsd === undefined || !Number.isFinite(reportedUsd.count)) return null
  const said = decimal(reportedUsd.count)
  const larger = said.gt(costUsd) ? said : costUsd
  const apart = said.minus(costUsd).abs()
  if (apart.lte(larger.times(TOLERATED_SHARE)) || apart.lte(reportedUsd.roundedUsd ?? 0)) return null
  const detail = `reports a cost of ${reportedUsd.count} USD; our prices give ${showUsd(usdText(costUsd))} USD`
  return { code: 'usage_total_differs', pointer: reportedUsd.pointer, detail }
}
