/** An unreachable collector delays the end of the process by this much at most. */
const FLUSH_MS_MAX = 3_000

let shutDown: (() => Promise<void>) | null = null

/** Sets what stopTelemetry() runs. */
export function stopWith(work: () => Promise<void>): void {
  shutDown = work
}

/** Sends the telemetry that is still waiting. What the collector does not take in time is lost. Never throws. */
export async function stopTelemetry(): Promise<void> {
  if (shutDown === null) return
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, FLUSH_MS_MAX)
  })
  await Promise.race([shutDown().catch(() => {}), tooLate])
  clearTimeout(timer)
}
