import type { Deliverer } from '../services/alerts/deliver.ts'

/** How often each process looks for new events and due deliveries. It does not pause while there is more to do. */
const EVERY_MS = 1_000
/** How long a stop waits for running attempts. Any process repeats the others a minute later. */
const STOP_MS = 5_000

/** Delivers until stopped. Reports a failure and continues with the next round. */
export function startDeliverer(deliverer: Deliverer, onError: (error: unknown) => void): { stop(): Promise<void> } {
  const stopping = Promise.withResolvers<void>()
  let stopped = false
  const running = deliverUntilStopped()

  async function deliverUntilStopped(): Promise<void> {
    while (!stopped) {
      let more = false
      try {
        more = await deliverer.round()
      } catch (error) {
        onError(error)
      }
      if (!more) await pause(EVERY_MS, [deliverer.ended(), stopping.promise])
    }
  }

  return {
    stop: async () => {
      stopped = true
      stopping.resolve()
      await running
      const until = performance.now() + STOP_MS
      try {
        while (deliverer.running() > 0 && performance.now() < until) {
          await pause(until - performance.now(), [deliverer.ended()])
          await deliverer.note()
        }
      } catch (error) {
        onError(error)
      }
    },
  }
}

async function pause(ms: number, orUntil: Promise<void>[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const passed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([passed, ...orUntil])
  clearTimeout(timer)
}
