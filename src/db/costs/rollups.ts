import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'

/**
 * Adds lines of cost that are not rolled up yet to the rollups, at most so many, from a block of their table on; answers how many, and
 * the block of the last one. 0 where another instance is at it.
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

/** Makes the partitions of records of this month and of the next ones, where they are missing. */
export async function prepareCostPartitions(db: Db, monthsAhead: number): Promise<void> {
  await sql`
    select copilot_internal.ensure_cost_partitions(now.at + make_interval(months => n.months))
    from (select copilot_internal.clock_now() as at) now, generate_series(0, ${monthsAhead}::integer) n(months)`.execute(
    db,
  )
}
