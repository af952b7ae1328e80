/** An unreachable collector holds the end of the process up for no longer than this. */
const FLUSH_MS_MAX = 3_000

let shutDown: (() => Promise<void>) | null = null

/** What is to be done at the end. */
export function stopWith(work: () => Promise<void>): void {
  shutDown = work
}

/** Sends the telemetry that has not been sent; what a collector does not take in time is lost. Never throws. */
export async function stopTelemetry(): Promise<void> {
  if (shutDown === null) return
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, FLUSH_MS_MAX)
  })
  await Promise.race([shutDown().catch(() => {}), tooLate])
  clearTimeout(timer)
}
