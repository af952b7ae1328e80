/** How often each process settles lapsed holds. It skips holds that another process has locked. */
const EVERY_MS = 1_000
/**
 * The most holds in one transaction. Decisions wait for the balances that it locks: 500 at once halved their measured
 * rate.
 */
const ROWS_MAX = 200

/**
 * Settles lapsed holds once a second until stopped. Reports a failure and continues a second later.
 *
 * @param settleLapsed settles at most `rowsMax` holds and returns how many it settled.
 */
export function startSweeper(
  settleLapsed: (rowsMax: number) => Promise<number>,
  onError: (error: unknown) => void,
): { stop(): Promise<void> } {
  let running: Promise<void> = Promise.resolve()
  let stopped = false
  const timer = setInterval(() => {
    running = running.then(sweep)
  }, EVERY_MS)

  async function sweep(): Promise<void> {
    try {
      // A full batch means that there may be more.
      while (!stopped && (await settleLapsed(ROWS_MAX)) === ROWS_MAX);
    } catch (error) {
      onError(error)
    }
  }

  return {
    stop: () => {
      stopped = true
      clearInterval(timer)
      return running
    },
  }
}
