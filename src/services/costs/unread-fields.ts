import { LRUCache } from 'lru-cache'
import type { UnreadField } from '../../db/alerts/events.ts'
import type { Reading } from '../../domain/usage/index.ts'

/** Emits usage.unread for what a usage says and nothing reads. Swallows errors: the cost is booked. */
export type EmitUnread = (principal: string, provider: string | null, reading: Reading) => Promise<void>

/** At most this many fields are remembered as emitted. */
const EMITTED_MAX = 10_000

/** An event is written once a day; asking once an hour covers the next day. */
const EMITTED_MS = 3_600_000

/**
 * A field that a provider adds is in each of its answers, so an instance asks for its event once an hour and principal.
 *
 * @param emit writes the events of a day, each once.
 */
export function unreadEmitter(emit: (field: UnreadField) => Promise<unknown>): EmitUnread {
  const emitted = new LRUCache<string, true>({ max: EMITTED_MAX, ttl: EMITTED_MS })
  return async (principal, provider, { notes }) => {
    const unread = notes.filter(({ code, isAssumed }) => code === 'usage_unread' && !isAssumed)
    if (unread.length === 0) return
    // The names are a caller's text, of which an event shows no more than plain letters.
    const fields = new Set(unread.map(({ pointer }) => pointer.replaceAll(/[^A-Za-z0-9_.~/-]/g, '?')))
    await Promise.all(
      [...fields].map(async (field) => {
        const key = JSON.stringify([principal, provider, field])
        if (emitted.has(key)) return
        emitted.set(key, true)
        try {
          await emit({ principal, provider, field })
        } catch {
          // The next usage with this field asks again.
          emitted.delete(key)
        }
      }),
    )
  }
}
