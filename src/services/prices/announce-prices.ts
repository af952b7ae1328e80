import { openSharedCache } from '../../cache/shared.ts'
import { PRICES_CHANGED } from '../../cache/prices.ts'

const READY_MS_MAX = 2_000
const POLL_MS = 20

/**
 * Notifies the running instances that prices have changed, from a process that serves no requests, such as the command line.
 *
 * Waits at most 2 s for Redis. Without the notice, instances detect the change on their own within a minute.
 *
 * @returns whether the notice was sent; false if no Redis is configured or reachable.
 */
export async function announcePrices(redisUrl: string | undefined): Promise<boolean> {
  const shared = openSharedCache(redisUrl, '', () => {})
  try {
    const startedAt = performance.now()
    while (shared.status() === 'down' && performance.now() - startedAt < READY_MS_MAX)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    if (shared.status() !== 'up') return false
    await shared.publish(PRICES_CHANGED, '')
    return true
  } finally {
    await shared.close()
  }
}
