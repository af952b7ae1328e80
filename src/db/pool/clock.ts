import { sql } from 'kysely'
import { V7Generator } from 'uuidv7'
import type { Db } from './connection.ts'

/** The sweep observes the time once a second, and every decision does: what is older than this has missed some of them. */
const OLD_MS = 5_000

/**
 * The clock of Postgres as this process knows it. Only Postgres decides by time; what the process works out before it asks
 * (which version of a price runs) follows the same clock, also where the machine's own is wrong or is set anew: between
 * two observations it counts by the monotonic clock.
 */
export class DatabaseClock {
  readonly #read: () => Promise<Date>
  readonly #ids = new V7Generator({ nextUint32: randomNumbers() })
  #seen = { nowMs: 0, monotonicMs: 0 }
  #askedAt = { monotonicMs: 0, wallMs: 0 }
  #reading: Promise<void> | null = null

  /** @param read asks Postgres for the time. */
  constructor(now: Date, read: () => Promise<Date>) {
    this.#read = read
    this.observe(now)
  }

  /** Takes note of a time that Postgres has just answered. */
  observe(now: Date): void {
    this.#askedAt = { monotonicMs: performance.now(), wallMs: Date.now() }
    this.#seen = { nowMs: now.getTime(), monotonicMs: this.#askedAt.monotonicMs }
  }

  now(): Date {
    return new Date(this.#nowMs())
  }

  /**
   * The time to price by: asks Postgres first where the last observation is old. Where Postgres does not answer, what is
   * known goes on: nothing can be reserved by it meanwhile.
   */
  current(): Date | Promise<Date> {
    if (!this.#isOld()) return this.now()
    const known = () => this.now()
    return this.refresh().then(known, known)
  }

  /** Asks Postgres for the time; requests at once share one answer. @throws the database's error. */
  refresh(): Promise<void> {
    this.#reading ??= this.#ask().finally(() => (this.#reading = null))
    return this.#reading
  }

  /** A new id (UUIDv7) with the time of Postgres; greater than the last one, unless the time went back by ten seconds. */
  newId(): string {
    return this.#ids.generateOrResetWithTs(this.#nowMs()).toString()
  }

  #nowMs(): number {
    return this.#seen.nowMs + Math.floor(performance.now() - this.#seen.monotonicMs)
  }

  /** The monotonic clock stands still while a machine is suspended; the machine's own clock tells that, and nothing else here. */
  #isOld(): boolean {
    const { monotonicMs, wallMs } = this.#askedAt
    return Math.max(performance.now() - monotonicMs, Math.abs(Date.now() - wallMs)) > OLD_MS
  }

  async #ask(): Promise<void> {
    try {
      this.observe(await this.#read())
    } catch (error) {
      // While Postgres is away, not every request waits for it.
      this.#askedAt = { monotonicMs: performance.now(), wallMs: Date.now() }
      throw error
    }
  }
}

/** Random numbers below 2^32 from the system, fetched a thousand at a time: a call for each id costs more than the rest of it. */
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

/** The clock of a database, which it asks for the time. */
export async function openClock(db: Db): Promise<DatabaseClock> {
  return new DatabaseClock(await readClock(db), () => readClock(db))
}

/** The time by which Postgres decides. */
export async function readClock(db: Db): Promise<Date> {
  const { rows } = await sql<{ now: Date }>`select copilot_internal.clock_now() as now`.execute(db)
  return rows[0]!.now
}
