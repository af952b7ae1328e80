import { LRUCache } from 'lru-cache'
import type { Db } from '../db/connection.ts'
import { findE2bPrices, findModelPrices } from '../db/prices.ts'
import type { E2bPrice } from '../domain/e2b.ts'
import type { ModelPrice } from '../domain/price.ts'
import type { SharedCache } from './shared.ts'

const NAMES_MAX = 5_000
const IN_PROCESS_MS = 60_000
const IN_REDIS_SECONDS = 3_600

/** Prices by name: from the process, else from Redis, else from Postgres. Requests at once for one name share one look-up. */
export type PriceCache = {
  /** All versions of what the name means, of one provider or of all; empty where nobody knows it. */
  model(provider: string | null, model: string): Promise<ModelPrice[]>
  e2b(tier: string, region: string): Promise<E2bPrice[]>
}

export function openPriceCache(db: Db, shared: SharedCache): PriceCache {
  return {
    model: cached(shared, 'model', ([provider, model]) => findModelPrices(db, provider ?? null, model ?? '')),
    e2b: cached(shared, 'e2b', ([tier, region]) => findE2bPrices(db, tier ?? '', region ?? '')),
  }
}

function cached<Price>(
  shared: SharedCache,
  kind: string,
  find: (name: (string | null)[]) => Promise<Price[]>,
): (...name: (string | null)[]) => Promise<Price[]> {
  const known = new LRUCache<string, Price[]>({
    max: NAMES_MAX,
    ttl: IN_PROCESS_MS,
    fetchMethod: async (name) => {
      const key = `purser:price:${kind}:${name}`
      const stored = await shared.get(key)
      if (stored !== null) return JSON.parse(stored) as Price[]
      const versions = await find(JSON.parse(name) as (string | null)[])
      // An unknown name is not remembered: an admin may price it the next moment.
      if (versions.length === 0) return undefined
      void shared.set(key, JSON.stringify(versions), IN_REDIS_SECONDS)
      return versions
    },
  })
  return async (...name) => (await known.fetch(JSON.stringify(name))) ?? []
}
