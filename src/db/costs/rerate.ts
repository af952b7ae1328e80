import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'

export type RerateFilter = {
  /** The time range in which records occurred: `from` inclusive, `to` exclusive; RFC 3339. */
  from: string
  to: string
  /** Null: records of every model and of sandboxes. */
  model: string | null
}

/** A cost record whose cost would differ by the prices known now. Amounts and seconds are decimal text. */
export type RatedLine = {
  cost_record_id: string
  resource_type: 'llm' | 'e2b'
  tenant_id: string
  user_id: string | null
  provider?: string | null
  model?: string
  tier?: string | null
  occurred_at: string
  cost_usd: string
  new_cost_usd: string
  price_id: number | null
  new_price_id: number
  /** Whether the reserved amount was booked (rule 10), and why. */
  estimated: boolean
  estimate_reason: 'unpriced' | 'usage_unreadable' | null
  usage?: Record<string, unknown>
  seconds?: string
  /** For a usage that could not be read before: warnings about the parts that still cannot be read. */
  warnings?: object[]
}

/** A cost record whose usage could not be read, with the provider's usage object. */
export type UnreadableLine = Omit<RatedLine, 'new_cost_usd' | 'new_price_id' | 'usage' | 'seconds'> & {
  provider_usage: Record<string, unknown>
}

export type RatedPage = {
  looked: number
  /** The id of the last record that was checked; null after the last page. */
  last: string | null
  lines: RatedLine[]
  unpriced: number
  undecided: number
  unread: UnreadableLine[]
  /** How many records have a usage that could not be read and was not kept. */
  unreadable: number
}

const FIRST = '00000000-0000-0000-0000-000000000000'

/** Reads the time until which a run checks records, so that it does not check the records that it books itself. */
export async function readRerateStart(db: Db): Promise<string> {
  const { rows } = await sql<{ at: string }>`select copilot_internal.clock_now()::text as at`.execute(db)
  return rows[0]!.at
}

/** Reads the page of records after the id `after` (null: the first page); see rerate_page(). */
export async function readRatedPage(
  db: Db,
  resourceType: 'llm' | 'e2b',
  filter: RerateFilter,
  page: { recordedUntil: string; after: string | null; rowsMax: number },
): Promise<RatedPage> {
  const { rows } = await sql<{ page: RatedPage }>`select copilot_internal.rerate_page(
    ${resourceType}, ${filter.from}, ${filter.to}, ${filter.model}, ${page.recordedUntil}, ${page.after ?? FIRST}::uuid,
    ${page.rowsMax}) as page`.execute(db)
  return rows[0]!.page
}

/**
 * Prices records of one page whose usage could not be read before and has been read now. The results are in the order of
 * the records; null if the model has no price.
 */
export async function rateReadUsages(
  db: Db,
  read: { cost_record_id: string; usage: Record<string, unknown> }[],
): Promise<{ new_cost_usd: string | null; new_price_id: number | null }[]> {
  if (read.length === 0) return []
  const { rows } = await sql<{ rated: { new_cost_usd: string | null; new_price_id: number | null }[] }>`
    select copilot_internal.rate_read_usages(${JSON.stringify(read)}::json) as rated`.execute(db)
  return rows[0]!.rated
}
