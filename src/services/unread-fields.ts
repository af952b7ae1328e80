import { LRUCache } from 'lru-cache'
import type { UnreadField } from '../db/events.ts'
import type { Reading } from '../domain/usage/index.ts'

/** Tells of what a usage says and nothing reads. Never fails: what it is about has been booked. */
export type TellUnread = (principal: string, provider: string | null, reading: Reading) => Promise<void>

/** So many fields are remembered as told. */
const TOLD_MAX = 10_000

/** An event has a day's worth; a field that goes on is told again by then. */
const TOLD_MS = 3_600_000

const FIELD_LENGTH_MAX = 200

/**
 * A field that a provider adds is in each of its answers, so an instance asks for its event once an hour.
 *
 * @param tell writes the events of a day, each once.
 */
export function unreadTeller(tell: (field: UnreadField) => Promise<unknown>): TellUnread {
  const told = new LRUCache<string, true>({ max: TOLD_MAX, ttl: TOLD_MS })
  return async (principal, provider, { notes }) => {
    const fields = new Set(notes.filter(({ code }) => code === 'usage_unread').map(({ pointer }) => fieldOf(pointer)))
    await Promise.all(
      [...fields].map(async (field) => {
        const key = `${provider}\u0000${field}`
        if (told.has(key)) return
        told.set(key, true)
        try {
          await tell({ principal, provider, field })
        } catch {
          told.delete(key)
        }
      }),
    )
  }
}

/** A pointer as the name of a field: the places of lists are one. Its names are a caller's text. */
function fieldOf(pointer: string): string {
  return pointer
    .replaceAll(/\/\d+(?=\/|$)/g, '/*')
    .replaceAll(/[^A-Za-z0-9_.~/*-]/g, '?')
    .slice(0, FIELD_LENGTH_MAX)
}
