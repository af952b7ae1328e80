import { createHash } from 'node:crypto'
import type { Db } from '../db/pool/connection.ts'
import {
  lockPrices,
  publishE2bPrices,
  publishModelPrices,
  readAllModelPrices,
  readSeedKey,
  writeSeedKey,
  type PublishCounts,
} from '../db/prices/price-versions.ts'
import { e2bVersions, layOver, readOverlay } from './overlay.ts'
import { packageRelease, readPackage, versionsOf } from './package.ts'
import { planChanges } from './plan.ts'

/** Raise this when a change in reading the package changes what is published: the next start then publishes again. */
const READER_EDITION = 1

export type SeedOutcome = {
  /** False if this edition was published before, so that nothing was read or written. */
  published: boolean
  /** The package's release and the hash of the overlay. */
  seedKey: string
  models?: PublishCounts & { aliasesSet: number }
  e2b?: PublishCounts
}

/**
 * Publishes the prices of package and overlay, and those of sandboxes, as versions. A new database gets all of them.
 * A known one gets what planChanges() finds, so that a newer release does not change what was priced before.
 *
 * Runs in one transaction, is idempotent, and may run beside another instance doing the same. If this edition is the
 * last published one, it costs one small query and does not even load the package.
 */
export async function seedPrices(db: Db): Promise<SeedOutcome> {
  const { overlay, text } = await readOverlay()
  const release = await packageRelease()
  const overlayHash = createHash('sha256').update(text).digest('hex').slice(0, 16)
  const seedKey = `genai-prices ${release}, overlay ${overlayHash}, reader ${READER_EDITION}`
  if ((await readSeedKey(db)) === seedKey) return { published: false, seedKey }

  const { versions } = versionsOf(await readPackage(), `genai-prices ${release}`)
  const wanted = layOver(versions, overlay)
  return db.transaction().execute(async (transaction) => {
    await lockPrices(transaction)
    const { at, current } = await readAllModelPrices(transaction)
    const plan = planChanges(wanted, current, [], at)
    const models = await publishModelPrices(transaction, plan.publish)
    const e2b = await publishE2bPrices(transaction, e2bVersions(overlay))
    await writeSeedKey(transaction, seedKey)
    const heldBack = models.heldBack + plan.held_back.length
    return { published: true, seedKey, models: { ...models, unchanged: plan.unchanged, heldBack }, e2b }
  })
}
