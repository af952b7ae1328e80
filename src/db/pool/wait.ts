import { unchanged } from './faults.ts'

/**
 * The wait of one caller for a change. Either the caller is told first that it took too long, and the change is not made. Or the
 * change is sent to be committed first, and the caller is told the outcome, however late.
 */
export class Wait {
  #state: 'open' | 'given up' | 'decided' = 'open'

  /** Call this before telling the caller that it took too long. False: the change has been sent, so wait for its outcome. */
  giveUp(): boolean {
    if (this.#state === 'open') this.#state = 'given up'
    return this.#state === 'given up'
  }

  /** Whether no change has been sent to be committed yet. */
  isUnsent(): boolean {
    return this.#state !== 'decided'
  }

  /** Call this just before the change is sent to be committed. @throws unavailable if the caller was told first. */
  decide(): void {
    if (this.#state === 'given up') throw unchanged('it took too long')
    this.#state = 'decided'
  }
}
