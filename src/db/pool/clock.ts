import { sql } from 'kysely'
import { V7Generator } from 'uuidv7'
import type { Db } from './connection.ts'

/** An observation older than this is out of date. Normally the sweep makes one a second, and so does every decision. */
const OLD_MS = 5_000

/**
 * The clock of Postgres, as far as this process knows it. Only Postgres decides by time. What the process works out beforehand,
 * such as which version of a price applies, follows the same clock, even if the machine's own clock is wrong or is changed:
 * between two observations the time advances with the monotonic clock.
 */
export class DatabaseClock {
  readonly #read: () => Promise<Date>
  readonly #ids = new V7Generator({ nextUint32: randomNumbers() })
  #seen = { nowMs: 0, monotonicMs: 0 }
  #askedAt = { monotonicMs: 0, wallMs: 0 }
  #reading: Promise<void> | null = null

  /** @param read reads the time from Postgres. */
  constructor(now: Date, read: () => Promise<Date>) {
    this.#read = read
    this.observe(now)
  }

  /** Records a time that Postgres has just answered. */
  observe(now: Date): void {
    this.#askedAt = { monotonicMs: performance.now(), wallMs: Date.now() }
    this.#seen = { nowMs: now.getTime(), monotonicMs: this.#askedAt.monotonicMs }
  }

  now(): Date {
    return new Date(this.#nowMs())
  }

  /**
   * The time for choosing a price. Reads it from Postgres if the last observation is old. If Postgres does not answer, returns
   * the time as last known: this is safe, because nothing can be reserved while Postgres is away.
   */
  current(): Date | Promise<Date> {
    if (!this.#isOld()) return this.now()
    const known = () => this.now()
    return this.refresh().then(known, known)
  }

  /** Reads the time from Postgres; simultaneous calls share one read. @throws the database's error. */
  refresh(): Promise<void> {
    this.#reading ??= this.#ask().finally(() => (this.#reading = null))
    return this.#reading
  }

  /** A new id (UUIDv7) with the time of Postgres. Greater than the last id, unless the time went back by ten seconds or more. */
  newId(): string {
    return this.#ids.generateOrResetWithTs(this.#nowMs()).toString()
  }

  #nowMs(): number {
    return this.#seen.nowMs + Math.floor(performance.now() - this.#seen.monotonicMs)
  }

  /** Compares two clocks, because the monotonic clock stands still while a machine is suspended. */
  #isOld(): boolean {
    const { monotonicMs, wallMs } = this.#askedAt
    return Math.max(performance.now() - monotonicMs, Math.abs(Date.now() - wallMs)) > OLD_MS
  }

  async #ask(): Promise<void> {
    try {
      this.observe(await this.#read())
    } catch (error) {
      // Counts as an observation: while Postgres is away, only one request every OLD_MS waits for it.
      this.#askedAt = { monotonicMs: performance.now(), wallMs: Date.now() }
      throw error
    }
  }
}

/** Random numbers below 2^32, fetched from the system a thousand at a time: one call for each id would cost too much. */
function randomNumbers(): () => number {
  const numbers = new Uint32Array(1_024)
  let used = numbers.length
  return () => {
    if (used === numbers.length) {
      crypto.getRandomValues(numbers)
      used = 0
    }
    return numbers[used++]!
  }
}

/** Opens the clock of a database with a first observation. */
export async function openClock(db: Db): Promise<DatabaseClock> {
  return new DatabaseClock(await readClock(db), () => readClock(db))
}

/** Reads the time by which Postgres decides. */
export async function readClock(db: Db): Promise<Date> {
  const { rows } = await sql<{ now: Date }>`select copilot_internal.clock_now() as now`.execute(db)
  return rows[0]!.now
}
