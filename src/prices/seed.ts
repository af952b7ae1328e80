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

/** Raised when the reading of the package changes what is published, so that the next start publishes again. */
const READER_EDITION = 1

export type SeedOutcome = {
  /** False where this edition had been published before, and nothing was read or written. */
  published: boolean
  /** The package's release and the overlay's hash. */
  seedKey: string
  models?: PublishCounts & { aliasesSet: number }
  e2b?: PublishCounts
}

/**
 * Publishes the prices of the package and the overlay, and those of sandboxes, as versions: all of them on a new
 * database, on a known one what planChanges() finds, so that a newer release leaves alone what was priced before it.
 *
 * One transaction, idempotent, safe beside another instance doing the same. Where this edition was the last to be
 * published it costs one small query: the package is not even loaded.
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
