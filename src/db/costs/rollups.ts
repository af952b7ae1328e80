import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'

/**
 * Adds at most `linesMax` cost records to the rollups, from the block `fromBlock` of their table on. Returns how many, and the
 * block of the last one. Returns 0 if another instance is doing it.
 */
export async function rollUpTail(
  db: Db,
  linesMax: number,
  fromBlock: number,
): Promise<{ lines: number; block: number }> {
  const { rows } = await sql<{ lines: number; block: string }>`
    select lines, block from copilot_internal.roll_up_tail(${linesMax}, ${fromBlock})`.execute(db)
  const { lines, block } = rows[0]!
  return { lines, block: Number(block) }
}

/** Creates the missing partitions of records for this month and the next `monthsAhead` months. */
export async function prepareCostPartitions(db: Db, monthsAhead: number): Promise<void> {
  await sql`
    select copilot_internal.ensure_cost_partitions(now.at + make_interval(months => n.months))
    from (select copilot_internal.clock_now() as at) now, generate_series(0, ${monthsAhead}::integer) n(months)`.execute(
    db,
  )
}
