import { sql } from 'kysely'
import type { Db } from './connection.ts'

/** Adds lines of cost that are not rolled up yet to the rollups, at most so many; answers how many. 0 where another instance is at it. */
export async function rollUpCosts(db: Db, linesMax: number): Promise<number> {
  const { rows } = await sql<{ lines: number }>`select copilot_internal.roll_up_costs(${linesMax}) as lines`.execute(db)
  return rows[0]!.lines
}

/** Makes the partitions of records of this month and of the next ones, where they are missing. */
export async function prepareCostPartitions(db: Db, monthsAhead: number): Promise<void> {
  await sql`
    select copilot_internal.ensure_cost_partitions(now.at + make_interval(months => n.months))
    from (select copilot_internal.clock_now() as at) now, generate_series(0, ${monthsAhead}::integer) n(months)`.execute(
    db,
  )
}
