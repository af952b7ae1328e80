import { fileURLToPath } from 'node:url'
import { writeAudit, type Actor } from '../db/keys/audit.ts'
import { change } from '../db/pool/change.ts'
import type { Db } from '../db/pool/connection.ts'
import { lockPrices, noteFeed, publishModelPrices, readAllModelPrices, readFedAt } from '../db/prices/price-versions.ts'
import { withFeed, readFeed } from './feed.ts'
import { layOver, readOverlay } from './overlay.ts'
import { packageFeedUrl, packageRelease, readPackage, versionsOf, type PriceVersion, type Skipped } from './package.ts'
import { compareAll, planChanges, type Plan } from './plan.ts'
import { readSecondSource, type SecondSource } from './second-source.ts'
import { readJson, SourceError, changedAt } from './source-text.ts'

const OWN_FACTS = fileURLToPath(new URL('./facts-2026-11.json', import.meta.url))
/** The value of PURSER_PRICE_FEED and --feed that turns the feed off. */
const NO_FEED = 'none'

export type SyncOptions = {
  /** Whom the audit log names for what is published. */
  actor: Actor
  dryRun: boolean
  /** A path or URL, or "none". If left out, the package's own feed. */
  feed?: string | undefined
  /** Whether an unreadable feed fails the sync. Otherwise the package is used alone. */
  needsFeed?: boolean
  /** A path or URL. If left out, the project's own facts. */
  second?: string | undefined
  tell?: (line: string) => void
}

/** A source, and whether it was read. */
export type SourceNote = { name: string; status: 'read' | 'unread' | 'not asked'; detail: string }

export type SyncOutcome = Omit<Plan, 'publish'> & {
  sources: SourceNote[]
  /** Models that a source has but that cannot be published. They stay unknown until an administrator prices them. */
  skipped: Skipped[]
  /** The time of the newest data: of the feed that was read last, of the overlay or of the second source. */
  dataAt: Date
}

/**
 * Reads package, feed and overlay, compares them with the second source and the database, and publishes what
 * planChanges() finds, except in a dry run. One transaction: all of it or nothing.
 *
 * @throws SourceError if the second source, or a required feed, cannot be read. Nothing is changed then.
 */
export async function syncPrices(db: Db, options: SyncOptions): Promise<SyncOutcome> {
  const tell = options.tell ?? (() => {})
  const sources: SourceNote[] = []
  const noteSource = (source: SourceNote) => {
    sources.push(source)
    tell(`${source.name}: ${source.status}, ${source.detail}`)
  }
  const { wanted, skipped, edition, feedAt } = await readWanted(options, noteSource)
  const second = await openSecondSource(options.second)
  noteSource({
    name: 'second source',
    status: 'read',
    detail: `${options.second ?? 'own facts'}${second.asOf === null ? '' : ` of ${second.asOf}`}`,
  })

  const work = async (transaction: Db): Promise<Omit<Plan, 'publish'>> => {
    if (!options.dryRun) await lockPrices(transaction)
    const { at, current } = await readAllModelPrices(transaction)
    const { publish, ...plan } = planChanges(wanted, current, second.pricesAt(at), at)
    if (options.dryRun) return plan
    if (feedAt !== null) await noteFeed(transaction, feedAt)
    if (publish.length > 0) {
      await publishModelPrices(transaction, publish)
      await writeAudit(transaction, { action: 'price.sync', subject: 'prices', before: null, after: auditedPlan(plan) })
    }
    return plan
  }
  const plan = await (options.dryRun ? work(db) : change(db, options.actor, work))
  tell(`${plan.added.length} ${options.dryRun ? 'would be added' : 'added'}, ${plan.unchanged} unchanged`)
  return { ...plan, sources, skipped, dataAt: newest([await readFedAt(db), feedAt, edition, second.asOf]) }
}

/** The latest of several times and UTC days. */
function newest(times: (Date | string | null)[]): Date {
  const millis = times.filter((time) => time !== null).map((time) => new Date(time).getTime())
  return new Date(Math.max(...millis.filter((time) => Number.isFinite(time))))
}

const AUDITED_MAX = 100

/** What the audit log keeps of a sync: the names of the first versions. Their prices are kept as versions anyway. */
function auditedPlan({ added, aliases }: Omit<Plan, 'publish'>): object {
  const names = added.map(({ provider, model, effective_date: from }) => `${provider}/${model} from ${from}`)
  return { added: names.length, aliases, versions: names.slice(0, AUDITED_MAX) }
}

/** The result of comparing the prices in force with the second source. */
export type Verification = ReturnType<typeof compareAll>

/** Compares the prices in force with the second source. Changes nothing. @throws SourceError */
export async function verifyPrices(db: Db, second: string | undefined): Promise<Verification> {
  const source = await openSecondSource(second)
  const { at, current } = await readAllModelPrices(db)
  return compareAll(current, source.pricesAt(at), at)
}

async function openSecondSource(location: string | undefined): Promise<SecondSource> {
  return readSecondSource(await readJson(location ?? OWN_FACTS))
}

async function readWanted(
  { feed: location, needsFeed = false }: SyncOptions,
  note: (source: SourceNote) => void,
): Promise<{ wanted: PriceVersion[]; skipped: Skipped[]; edition: string; feedAt: Date | null }> {
  const release = await packageRelease()
  const own = await readPackage()
  note({ name: 'package', status: 'read', detail: `genai-prices ${release}` })
  const { overlay } = await readOverlay()
  note({ name: 'overlay', status: 'read', detail: overlay.edition })

  const url = location ?? (await packageFeedUrl())
  const skipped: Skipped[] = []
  let providers = own
  let source = `genai-prices ${release}`
  let feedAt: Date | null = null
  if (url === NO_FEED) note({ name: 'feed', status: 'not asked', detail: 'turned off' })
  else {
    try {
      const { providers: fed, broken } = readFeed(await readJson(url))
      providers = withFeed(own, fed)
      skipped.push(...broken)
      source = 'genai-prices feed'
      feedAt = await changedAt(url)
      note({ name: 'feed', status: 'read', detail: url })
    } catch (error) {
      if (needsFeed || !(error instanceof SourceError)) throw error
      note({ name: 'feed', status: 'unread', detail: `${error.message}; using the package alone` })
    }
  }
  const read = versionsOf(providers, source)
  const wanted = layOver(read.versions, overlay)
  return { wanted, skipped: [...skipped, ...read.skipped], edition: overlay.edition, feedAt }
}
