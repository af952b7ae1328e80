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
/** What PURSER_PRICE_FEED and --feed say for no feed at all. */
const NO_FEED = 'none'

export type SyncOptions = {
  /** Who has it done: what is published stands in the audit log. */
  actor: Actor
  dryRun: boolean
  /** A path or URL, or "none"; the package's own where it is left out. */
  feed?: string | undefined
  /** Whether the feed has to be there; otherwise the package stands alone where it can't be had. */
  needsFeed?: boolean
  /** A path or URL; the project's own facts where it is left out. */
  second?: string | undefined
  tell?: (line: string) => void
}

/** Where figures were looked for, and what became of it. */
export type SourceNote = { name: string; status: 'read' | 'unread' | 'not asked'; detail: string }

export type SyncOutcome = Omit<Plan, 'publish'> & {
  sources: SourceNote[]
  /** Models that a source has and that cannot be published; they are unknown until an administrator prices them. */
  skipped: Skipped[]
  /** The time of the newest data: of the feed that was read last, the overlay or the second source. */
  dataAt: Date
}

/**
 * Reads package, feed and overlay, compares them with the second source and the database, and publishes what
 * planChanges() finds, unless it is a dry run. In one transaction: all of it or nothing.
 *
 * @throws SourceError for a second source, or a feed that has to be there, that cannot be read; nothing is changed then.
 */
export async function syncPrices(db: Db, options: SyncOptions): Promise<SyncOutcome> {
  const tell = options.tell ?? (() => {})
  const sources: SourceNote[] = []
  const note = (source: SourceNote) => {
    sources.push(source)
    tell(`${source.name}: ${source.status}, ${source.detail}`)
  }
  const { wanted, skipped, edition, feedAt } = await readWanted(options, note)
  const second = await openSecondSource(options.second)
  note({
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

/** The latest of some times and days of UTC. */
function newest(times: (Date | string | null)[]): Date {
  const millis = times.filter((time) => time !== null).map((time) => new Date(time).getTime())
  return new Date(Math.max(...millis.filter((time) => Number.isFinite(time))))
}

const AUDITED_MAX = 100

/** The first versions by their names; the prices themselves are kept, version by version. */
function auditedPlan({ added, aliases }: Omit<Plan, 'publish'>): object {
  const names = added.map(({ provider, model, effective_date: from }) => `${provider}/${model} from ${from}`)
  return { added: names.length, aliases, versions: names.slice(0, AUDITED_MAX) }
}

/** What a check of the prices in force against the second source found. */
export type Verification = ReturnType<typeof compareAll>

/** Compares the prices in force in the database with the second source; changes nothing. @throws SourceError */
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
  if (url === NO_FEED) note({ name: 'feed', status: 'not asked', detail: 'none is wanted' })
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
      note({ name: 'feed', status: 'unread', detail: `${error.message}; the package stands alone` })
    }
  }
  const read = versionsOf(providers, source)
  const wanted = layOver(read.versions, overlay)
  return { wanted, skipped: [...skipped, ...read.skipped], edition: overlay.edition, feedAt }
}
