import { LRUCache } from 'lru-cache'
import type { SharedCache } from './shared.ts'

/** How many there were in the running window, this one among them, and how long it still lasts, in milliseconds. */
export type Count = { current: number; ttl: number }

const KEYS_MAX = 20_000

/** Counts in windows that begin with the first of a key; in this process alone. */
export function countHere(): (key: string, windowMs: number) => Count {
  const windows = new LRUCache<string, { current: number; endsAt: number }>({ max: KEYS_MAX })
  return (key, windowMs) => {
    const now = performance.now()
    let window = windows.get(key)
    if (window === undefined || window.endsAt <= now) {
      window = { current: 0, endsAt: now + windowMs }
      windows.set(key, window)
    }
    window.current += 1
    return { current: window.current, ttl: Math.max(1, Math.ceil(window.endsAt - now)) }
  }
}

/**
 * Counts over all instances, in Redis. While that is away each instance counts for itself: never open, never down. It
 * counts here all along, so that the loss of Redis gives nobody a fresh start.
 */
export function countTogether(shared: SharedCache): (key: string, windowMs: number) => Promise<Count> {
  const here = countHere()
  return async (key, windowMs) => {
    const own = here(key, windowMs)
    const together = await shared.increment(`purser:count:${key}`, windowMs)
    return together ?? own
  }
}
