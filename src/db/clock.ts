/**
 * The clock of Postgres as this process knows it. Only Postgres decides by time; what the process works out before it asks
 * (which version of a price runs) follows the same clock, also where the machine's own is wrong.
 */
export class DatabaseClock {
  #offsetMs = 0

  /** Takes note of a time that Postgres has just answered. */
  observe(now: Date): void {
    this.#offsetMs = now.getTime() - Date.now()
  }

  now(): Date {
    return new Date(Date.now() + this.#offsetMs)
  }
}
