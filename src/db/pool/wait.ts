import { unchanged } from './faults.ts'

/**
 * The wait of one caller for a change. Either the caller is answered first, and the change is not made; or the change is
 * sent to be committed first, and the caller hears how that ended, however late.
 */
export class Wait {
  #state: 'open' | 'given up' | 'decided' = 'open'

  /** Called before the caller is told that it took too long. False: too late for that, the outcome is on its way. */
  giveUp(): boolean {
    if (this.#state === 'open') this.#state = 'given up'
    return this.#state === 'given up'
  }

  /** Whether no change has been sent to be committed yet. */
  isUnsent(): boolean {
    return this.#state !== 'decided'
  }

  /** Called at the last moment at which nothing has been changed for good. @throws unavailable where the caller was told so. */
  decide(): void {
    if (this.#state === 'given up') throw unchanged('it took too long')
    this.#state = 'decided'
  }
}
