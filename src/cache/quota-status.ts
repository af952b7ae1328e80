import type { SharedCache } from './shared.ts'

/** Short enough that a reader who stored what it read before a batch, and after that batch's drop, misleads nobody for long. */
const TTL_SECONDS = 30

/** A scope: '' for none, so that ('', '') is the platform and ('acme', '') a tenant. */
export type StatusScope = { tenantId: string; userId: string }

/** What is known of the quotas of one scope, as JSON text, in Redis only. A batch drops what it touched, not awaited. */
export type StatusCache = {
  get(scope: StatusScope): Promise<string | null>
  set(scope: StatusScope, text: string): void
  /** Forgets the platform, and the tenants and users that a batch touched. */
  dropTouched(touched: { tenant_id: string; user_id: string | null }[]): void
  drop(scope: StatusScope): void
}

export function openStatusCache(shared: SharedCache): StatusCache {
  const keyOf = ({ tenantId, userId }: StatusScope) => `purser:quota-status:${JSON.stringify([tenantId, userId])}`
  return {
    get: (scope) => shared.get(keyOf(scope)),
    set: (scope, text) => void shared.set(keyOf(scope), text, TTL_SECONDS),
    drop: (scope) => shared.drop([keyOf(scope)]),
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
