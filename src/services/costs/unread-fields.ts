import { LRUCache } from 'lru-cache'
import type { UnreadField } from '../../db/alerts/events.ts'
import type { Reading } from '../../domain/usage/index.ts'

/** Emits usage.unread for the fields of a usage that nothing reads. Ignores errors, because the cost is booked already. */
export type EmitUnread = (principal: string, provider: string | null, reading: Reading) => Promise<void>

/** At most this many fields are remembered as emitted. */
const EMITTED_MAX = 10_000

/** The database writes each event once a day. Asking once an hour makes sure that the next day is covered. */
const EMITTED_MS = 3_600_000

/**
 * Makes the function that emits usage.unread. When a provider adds a field, every answer has it, so an instance asks for the
 * event only once per hour, principal and field.
 *
 * @param emit writes the event; it ignores an event that is already written today.
 */
export function unreadEmitter(emit: (field: UnreadField) => Promise<unknown>): EmitUnread {
  const emitted = new LRUCache<string, true>({ max: EMITTED_MAX, ttl: EMITTED_MS })
  return async (principal, provider, { notes }) => {
    const unread = notes.filter(({ code, isAssumed }) => code === 'usage_unread' && !isAssumed)
    if (unread.length === 0) return
    // A caller chooses these names, so an event shows only plain characters of them.
    const fields = new Set(unread.map(({ pointer }) => pointer.replaceAll(/[^A-Za-z0-9_.~/-]/g, '?')))
    await Promise.all(
      [...fields].map(async (field) => {
        const key = JSON.stringify([principal, provider, field])
        if (emitted.has(key)) return
        emitted.set(key, true)
        try {
          await emit({ principal, provider, field })
        } catch {
          // Forget the field, so that the next usage with it asks again.
          emitted.delete(key)
        }
      }),
    )
  }
}
