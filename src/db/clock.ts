import { sql } from 'kysely'
import type { Db } from './connection.ts'

/**
 * The clock of Postgres as this process knows it. Only Postgres decides by time; what the process works out before it asks
 * (which version of a price runs) follows the same clock, also where the machine's own is wrong or is set anew: between
 * two observations it counts by the monotonic clock.
 */
export class DatabaseClock {
  #offsetMs: number

  constructor(now: Date) {
    this.#offsetMs = now.getTime() - performance.now()
  }

  /** Takes note of a time that Postgres has just answered. */
  observe(now: Date): void {
    this.#offsetMs = now.getTime() - performance.now()
  }

  now(): Date {
    return new Date(performance.now() + this.#offsetMs)
  }
}

/** The time by which Postgres decides. */
export async function readClock(db: Db): Promise<Date> {
  const { rows } = await sql<{ now: Date }>`select copilot_internal.clock_now() as now`.execute(db)
  return rows[0]!.now
}
