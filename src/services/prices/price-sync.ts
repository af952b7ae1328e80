import type { PriceCache } from '../../cache/prices.ts'
import type { Actor } from '../../db/keys/audit.ts'
import type { Db } from '../../db/pool/connection.ts'
import { emitStalePrices } from '../../db/alerts/events.ts'
import { syncPrices as sync, type SyncOutcome } from '../../prices/sync.ts'
import type { SyncBody } from '../../schemas/pricing.ts'
import { timeText, usdJson } from '../answers.ts'

/** Price data older than this is stale. */
const STALE_DAYS = 14

const BY_THE_CLOCK: Actor = { principal: 'job:price-sync', ip: null, reason: null }

export type PriceSyncDeps = {
  db: Db
  prices: PriceCache
  /** A path or URL, or "none". Default: the feed of the package. */
  priceFeed?: string | undefined
}

/**
 * Reads package, feed and overlay, and publishes the prices that they agree on. A dry run only reports what it would do.
 *
 * Every instance uses the published prices from the next reservation on, as with an administrator's version.
 */
export async function syncPrices(deps: PriceSyncDeps, actor: Actor, body: SyncBody): Promise<object> {
  const dryRun = body.dry_run ?? false
  return { dry_run: dryRun, ...syncAnswer(await runSync(deps, actor, dryRun)) }
}

/**
 * Runs a scheduled sync: publishes the prices that are agreed, and returns the others, which wait for an administrator.
 * Emits price.stale, once a day, if the newest data of all sources and earlier syncs is older than 14 days.
 */
export async function keepPricesCurrent(deps: PriceSyncDeps): Promise<SyncOutcome & { stale: boolean }> {
  const outcome = await runSync(deps, BY_THE_CLOCK, false)
  return { ...outcome, stale: await emitStalePrices(deps.db, outcome.dataAt, STALE_DAYS) }
}

async function runSync({ db, prices, priceFeed }: PriceSyncDeps, actor: Actor, dryRun: boolean): Promise<SyncOutcome> {
  const outcome = await sync(db, { actor, dryRun, feed: priceFeed })
  if (!dryRun && outcome.added.length + outcome.aliases > 0) await prices.changed()
  return outcome
}

/** The outcome in the form of an answer, with figures as JSON numbers in plain digits. */
export function syncAnswer(outcome: SyncOutcome): object {
  const number = (figure: string | null) => (figure === null ? null : usdJson(figure))
  return {
    added: outcome.added.map(({ changes, effective_date, ...addition }) => ({
      ...addition,
      effective_date: timeText(effective_date),
      changes: changes.map(({ bucket, from_usd, to_usd }) => ({
        bucket,
        from_usd: number(from_usd),
        to_usd: number(to_usd),
      })),
    })),
    unchanged: outcome.unchanged,
    aliases: outcome.aliases,
    disagreements: outcome.disagreements.map(disagreementAnswer),
    held_back: outcome.held_back,
    skipped: outcome.skipped,
    sources: outcome.sources,
  }
}

export function disagreementAnswer({
  package_usd,
  second_usd,
  ...where
}: SyncOutcome['disagreements'][number]): object {
  return { ...where, package_usd: package_usd === null ? null : usdJson(package_usd), second_usd: usdJson(second_usd) }
}
