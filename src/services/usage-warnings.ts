import { decimal, usdText, type Usd } from '../domain/money.ts'
import { gapsOf, type PriceGap } from '../domain/price-gaps.ts'
import type { Asked, ModelPrice } from '../domain/price.ts'
import type { Reading } from '../domain/usage/index.ts'
import { showUsd } from './answers.ts'

/** How a usage was read and priced, where that may not be the whole truth. `pointer` is into the usage as it came. */
export type UsageWarning = {
  code: 'usage_unread' | 'usage_total_differs' | 'usage_unreadable' | 'usage_unsplit' | 'tier_unpriced'
  pointer?: string
  detail: string
}

/** So many warnings are answered. */
const WARNINGS_MAX = 50

/** What a provider says that a call cost, and our cost of it, may be apart by so much of the larger. */
const SAID_SHARE = '0.01'

/**
 * What an answer says about a usage that was read and priced.
 *
 * @param price the card that priced it; undefined where that is not known, or money was told.
 * @param costUsd what it came to.
 */
export function usageWarnings(
  reading: Reading,
  { price, costUsd, asked }: { price: ModelPrice | undefined; costUsd: Usd; asked: Asked },
): UsageWarning[] {
  const warnings: UsageWarning[] = [...reading.notes]
  if (price !== undefined) {
    for (const gap of gapsOf(price, reading.usage, asked, reading)) warnings.push(gapWarning(gap, reading))
  }
  const said = saidOtherwise(reading, costUsd)
  if (said !== null) warnings.push(said)
  return warnings.slice(0, WARNINGS_MAX)
}

/** Whether warnings ask for the card that priced a usage; most usages are plain. */
export function needsCard({ usage, isAggregate }: Reading, asked: Asked): boolean {
  return (
    isAggregate ||
    usage.service_tier !== undefined ||
    usage.region !== undefined ||
    (asked.serviceTier ?? null) !== null ||
    (usage.requests ?? 1) > 1 ||
    (usage.web_searches ?? 0) > 0 ||
    (usage.cache_write_1h_tokens ?? 0) > 0 ||
    (usage.cache_write_12h_tokens ?? 0) > 0
  )
}

export function gapWarning({ code, field, detail }: PriceGap, reading?: Reading): UsageWarning {
  if (field === null) return { code, detail }
  return { code, pointer: reading?.pointers[field] ?? `/${field}`, detail }
}

function saidOtherwise({ saidUsd }: Reading, costUsd: Usd): UsageWarning | null {
  if (saidUsd === undefined || !Number.isFinite(saidUsd.count)) return null
  const said = decimal(saidUsd.count)
  const larger = said.gt(costUsd) ? said : costUsd
  const apart = said.minus(costUsd).abs()
  if (apart.lte(larger.times(SAID_SHARE)) || apart.lte(saidUsd.roundedUsd ?? 0)) return null
  const detail = `says that it cost ${saidUsd.count} USD; by our prices it is ${showUsd(usdText(costUsd))} USD`
  return { code: 'usage_total_differs', pointer: saidUsd.pointer, detail }
}
