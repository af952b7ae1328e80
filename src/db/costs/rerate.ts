import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'

export type RerateFilter = {
  /** When a line occurred: from inclusive, to exclusive; RFC 3339. */
  from: string
  to: string
  /** Null: of every model, and of sandboxes. */
  model: string | null
}

/** A line of cost that would cost otherwise by the prices known by now. Amounts and seconds are decimal text. */
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
  /** Booked at the reserved amount (rule 10), and why. */
  estimated: boolean
  estimate_reason: 'unpriced' | 'usage_unreadable' | null
  usage?: Record<string, unknown>
  seconds?: string
  /** Of a usage that could not be read before: what is not read still. */
  warnings?: object[]
}

/** A line of cost whose usage could not be read, with the object. */
export type UnreadableLine = Omit<RatedLine, 'new_cost_usd' | 'new_price_id' | 'usage' | 'seconds'> & {
  provider_usage: Record<string, unknown>
}

export type RatedPage = {
  looked: number
  /** The id of the last line that was looked at; null behind the end. */
  last: string | null
  lines: RatedLine[]
  unpriced: number
  undecided: number
  unread: UnreadableLine[]
  /** How many lines could not be read and have no object that was kept. */
  unreadable: number
}

const FIRST = '00000000-0000-0000-0000-000000000000'

/** The moment until which recorded lines are looked at, so that a run does not meet the lines that it books itself. */
export async function readRerateStart(db: Db): Promise<string> {
  const { rows } = await sql<{ at: string }>`select copilot_internal.clock_now()::text as at`.execute(db)
  return rows[0]!.at
}

/** The next page of lines behind the id `after` (null: the first page); see rerate_page(). */
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
 * What lines of one page, whose usage could not be read, come to by what was read since; in their order, null where the
 * model has no price.
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
