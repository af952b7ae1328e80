import type { Deliverer } from '../services/alerts/deliver.ts'

/** New events and what is due are looked for this often, in every process; while there is something to do, without a pause. */
const EVERY_MS = 1_000
/** What a stop waits for attempts that run; the others are made again, by any process, a minute later. */
const STOP_MS = 5_000

/** Delivers until stopped. A failure is told and tried again the next time. */
export function startDeliverer(deliverer: Deliverer, onError: (error: unknown) => void): { stop(): Promise<void> } {
  const stopping = Promise.withResolvers<void>()
  let stopped = false
  const running = run()

  async function run(): Promise<void> {
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
