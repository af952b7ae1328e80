import { randomUUID } from 'node:crypto'
import type { SharedCache } from './shared.ts'

/** Short enough that a reader who stored what it read before a batch, and after that batch's drop, misleads nobody for long. */
const TTL_SECONDS = 30
/** A version outlives every entry that was stored under the one before it: read for 10 s at most, then kept for 30 s. */
const VERSION_TTL_SECONDS = 60
/** Versions that are written at once. */
const WRITES_MAX = 500

/** A scope: '' for none, so that ('', '') is the platform and ('acme', '') a tenant. */
export type StatusScope = { tenantId: string; userId: string }

/** What is known of a scope, null where nothing is, and the version under which what is read from now on is stored. */
export type KnownStatus = { text: string | null; version: string }

/** What is known of the quotas of one scope, as JSON text, in Redis only. A batch drops what it touched, not awaited. */
export type StatusCache = {
  get(scope: StatusScope): Promise<KnownStatus>
  set(scope: StatusScope, text: string, version: string): void
  /** Forgets the platform, and the tenants and users that a batch touched. */
  dropTouched(touched: { tenant_id: string; user_id: string | null }[]): void
  /**
   * Forgets scopes whose quotas an administrator changed, in every instance, before this returns: also what a reader that
   * asked Postgres before the change has still to store.
   */
  forget(changed: { tenant_id: string | null; user_id: string | null }[]): Promise<void>
}

export function openStatusCache(shared: SharedCache): StatusCache {
  const scopeName = ({ tenantId, userId }: StatusScope) => JSON.stringify([tenantId, userId])
  const keyOf = (scope: StatusScope) => `purser:quota-status:${scopeName(scope)}`
  const versionKeyOf = (scope: StatusScope) => `purser:quota-status-version:${scopeName(scope)}`
  return {
    get: async (scope) => {
      const [entry, version] = await Promise.all([shared.get(keyOf(scope)), shared.get(versionKeyOf(scope))])
      const known = version ?? ''
      return { text: entry?.startsWith(`${known}\n`) ? entry.slice(known.length + 1) : null, version: known }
    },
    set: (scope, text, version) => void shared.set(keyOf(scope), `${version}\n${text}`, TTL_SECONDS),
    forget: async (changed) => {
      const keys = new Set(
        changed.map(({ tenant_id: tenantId, user_id: userId }) =>
          versionKeyOf({ tenantId: tenantId ?? '', userId: userId ?? '' }),
        ),
      )
      const left = [...keys]
      while (left.length > 0 && shared.status() === 'up') {
        const some = left.splice(0, WRITES_MAX)
        await Promise.all(some.map((key) => shared.set(key, randomUUID(), VERSION_TTL_SECONDS)))
      }
    },
    dropTouched: (touched) => {
      if (shared.status() !== 'up') return
      const keys = new Set([keyOf({ tenantId: '', userId: '' })])
      for (const { tenant_id: tenantId, user_id: userId } of touched) {
        keys.add(keyOf({ tenantId, userId: '' }))
        if (userId !== null) keys.add(keyOf({ tenantId, userId }))
      }
      shared.drop([...keys])
    },
  }
}
