import { LRUCache } from 'lru-cache'
import type { SharedCache } from './shared.ts'

/** The count in the current window, including this one, and how long the window still lasts, in milliseconds. */
export type Count = { current: number; ttl: number }

const KEYS_MAX = 20_000

/** Counts per key in this process only. A window begins with the first count of its key. */
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
 * Counts over all instances, in Redis. While Redis is away, each instance applies its own count, so a limit is
 * neither lifted nor blocks everyone. Each instance counts all the time, so that losing Redis does not start the
 * counts from zero.
 */
export function countTogether(shared: SharedCache): (key: string, windowMs: number) => Promise<Count> {
  const here = countHere()
  return async (key, windowMs) => {
    const own = here(key, windowMs)
    const together = await shared.increment(`purser:count:${key}`, windowMs)
    return together ?? own
  }
}
