/** Holds that have lapsed are settled this often, in every process; a locked one is another process's. */
const EVERY_MS = 1_000
/** In one transaction, which keeps decisions waiting for the balances they share: measured, 500 at once halve their rate. */
const ROWS_MAX = 200

/**
 * Settles lapsed holds once a second until stopped. A failure is told and tried again the next time.
 *
 * @param settleLapsed settles at most so many and answers how many it did.
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
      // As long as a whole load lapsed there may be more.
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
