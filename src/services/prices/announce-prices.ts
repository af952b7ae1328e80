import { openSharedCache } from '../../cache/shared.ts'
import { PRICES_CHANGED } from '../../cache/prices.ts'

const READY_MS_MAX = 2_000
const POLL_MS = 20

/**
 * Tells running instances from a process that is none that prices have changed; waits 2 s at most for Redis. They find
 * out by themselves within a minute where it can't be told.
 *
 * @returns whether it was told; false where no Redis is configured or in reach.
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
