import { LRUCache } from 'lru-cache'
import type { Db } from '../db/pool/connection.ts'
import { readHolders, type Holder } from '../db/quotas/quota-status.ts'
import type { StatusScope } from './quota-status.ts'

const SCOPES_MAX = 1_000
const TTL_MS = 30_000

type Question = { scope: StatusScope; quotaPeriodIds: number[] }

/** The largest holders of a scope's balances, by quota_period_id. At most TTL_MS old, unless `fresh`. */
export type HoldersCache = (question: Question, fresh: boolean) => Promise<Record<string, Holder[]>>

/** Opens the cache. Equal questions at the same time share one query, because it reads many rows. */
export function openHoldersCache(db: Db): HoldersCache {
  const cache = new LRUCache<string, Record<string, Holder[]>, Question>({
    max: SCOPES_MAX,
    ttl: TTL_MS,
    fetchMethod: (_key, _stale, { context }) => readHolders(db, context.scope, context.quotaPeriodIds),
  })
  return async (question, fresh) =>
    (await cache.fetch(JSON.stringify(question), { context: question, forceRefresh: fresh })) ?? {}
}
