import { randomUUID } from 'node:crypto'
import type { SharedCache } from './shared.ts'

/** Short, because a reader may store what it read before a batch after that batch dropped the entry. */
const TTL_SECONDS = 30
/**
 * A version outlives every entry stored under the one before it: such an entry is read for at most 10 s and kept for
 * 30 s.
 */
const VERSION_TTL_SECONDS = 60
/** The most versions that are written at once. */
const WRITES_MAX = 500

/** A scope. '' stands for none: ('', '') is the platform, ('acme', '') a tenant. */
export type StatusScope = { tenantId: string; userId: string }

/** The cached status of a scope (null if there is none), and the version to store newly read status under. */
export type KnownStatus = { text: string | null; version: string }

/** Caches the quota status of a scope as JSON text, in Redis only. A batch drops what it touched without waiting. */
export type StatusCache = {
  get(scope: StatusScope): Promise<KnownStatus>
  set(scope: StatusScope, text: string, version: string): void
  /** Drops the entries of the platform and of the tenants and users that a batch touched. */
  dropTouched(touched: { tenant_id: string; user_id: string | null }[]): void
  /**
   * Drops scopes whose quotas an administrator changed, for every instance, before it returns. This also covers a
   * reader that asked Postgres before the change and has yet to store the result.
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
