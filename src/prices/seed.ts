import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
// oxlint-disable-next-line no-restricted-imports -- One transaction around reading and publishing, where db gives one call each.
import { sql, type Kysely } from 'kysely'
import { e2bVersions, layOver, type Overlay } from './overlay.ts'
import { readPackagePrices } from './package.ts'

/** Raised when the reading of the package changes what is published, so that the next start publishes again. */
const READER_EDITION = 1

type PublishCounts = { added: number; unchanged: number; superseded: number; heldBack: number }

export type SeedOutcome = {
  /** False where this edition had been published before, and nothing was read or written. */
  published: boolean
  /** The package's release and the overlay's hash. */
  seedKey: string
  models?: PublishCounts & { aliasesSet: number }
  e2b?: PublishCounts
}

/**
 * Publishes the prices of the package and the overlay, and those of sandboxes, as versions; an admin's versions stand.
 *
 * One transaction, idempotent, safe beside another instance doing the same. Where this edition was the last to be
 * published it costs one small query: the package is not even loaded.
 */
export async function seedPrices<Tables>(db: Kysely<Tables>): Promise<SeedOutcome> {
  const overlayText = await readFile(new URL('./overlay.json', import.meta.url), 'utf8')
  const release = await packageRelease()
  const overlayHash = createHash('sha256').update(overlayText).digest('hex').slice(0, 16)
  const seedKey = `genai-prices ${release}, overlay ${overlayHash}, reader ${READER_EDITION}`
  const stored = await sql<{ seed_key: string }>`select seed_key from copilot_internal.price_seed`.execute(db)
  if (stored.rows[0]?.seed_key === seedKey) return { published: false, seedKey }

  const overlay = JSON.parse(overlayText) as Overlay
  const { versions } = await readPackagePrices(`genai-prices ${release}`)
  const modelVersions = JSON.stringify(layOver(versions, overlay))
  return db.transaction().execute(async (transaction) => {
    const models = await sql<CountsRow & { aliases_set: number }>`
      select * from copilot_internal.publish_model_prices(${modelVersions}::text::jsonb)`.execute(transaction)
    const e2b = await sql<CountsRow>`
      select * from copilot_internal.publish_e2b_prices(${JSON.stringify(e2bVersions(overlay))}::text::jsonb)`.execute(
      transaction,
    )
    await sql`
      insert into copilot_internal.price_seed (seed_key) values (${seedKey})
      on conflict (only_row) do update set seed_key = excluded.seed_key, seeded_at = copilot_internal.clock_now()`.execute(
      transaction,
    )
    const [modelCounts] = models.rows
    const [e2bCounts] = e2b.rows
    if (modelCounts === undefined || e2bCounts === undefined) throw new Error('publishing prices answered no counts')
    return {
      published: true,
      seedKey,
      models: { ...countsOf(modelCounts), aliasesSet: modelCounts.aliases_set },
      e2b: countsOf(e2bCounts),
    }
  })
}

type CountsRow = { added: number; unchanged: number; superseded: number; held_back: number }

function countsOf({ added, unchanged, superseded, held_back }: CountsRow): PublishCounts {
  return { added, unchanged, superseded, heldBack: held_back }
}

/** The package's release from its manifest, so that asking does not load its data. */
async function packageRelease(): Promise<string> {
  const manifest = new URL('../package.json', import.meta.resolve('@pydantic/genai-prices'))
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string }
  return version
}
