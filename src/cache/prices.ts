import { LRUCache } from 'lru-cache'
import type { Db } from '../db/pool/connection.ts'
import {
  findE2bPrices,
  findModelPrices,
  listPricedNames,
  readPriceEdition,
  type NamedPrice,
  type PricesThen,
} from '../db/prices/prices.ts'
import type { E2bPrice } from '../domain/e2b.ts'
import type { SharedCache } from './shared.ts'

const NAMES_MAX = 5_000
const IN_PROCESS_MS = 60_000
const IN_REDIS_SECONDS = 3_600
/** How often Postgres is asked for the edition of its prices while no Redis tells of changes. */
const EDITION_MS = 1_000

/** Where instances tell each other that prices have changed. The message says nothing: who hears it looks. */
export const PRICES_CHANGED = 'purser:prices-changed'

/**
 * Prices by name: from the process, else from Redis, else from Postgres; also that nobody knows a name. Requests at once
 * for one name share one look-up.
 *
 * A change is known to every instance within a second: by a message over Redis, or without one by asking Postgres once
 * a second for its edition. What was read before a change is told by its smaller edition, wherever it comes from.
 * @throws the database's error where a price is not known and Postgres is out of reach.
 */
export type PriceCache = {
  /** All versions of what the name means, of one provider or of all; empty where nobody knows it. */
  model(provider: string | null, name: string): Promise<NamedPrice[]>
  e2b(tier: string, region: string): Promise<E2bPrice[]>
  /** All names that have a price at some time, for a hint to who misspelt one. */
  names(): ReturnType<typeof listPricedNames>
  /** Tells this instance and the others that prices have changed; after the change is committed. */
  changed(): Promise<void>
}

export function openPriceCache(db: Db, shared: SharedCache): PriceCache {
  const edition = watchEdition(db, shared)
  const names = cached(edition, null, 'names', async () => ({
    edition: await readPriceEdition(db),
    prices: await listPricedNames(db),
  }))
  return {
    model: cached(edition, shared, 'name', ([provider, name]) => findModelPrices(db, provider ?? null, name ?? '')),
    e2b: cached(edition, shared, 'e2b', ([tier, region]) => findE2bPrices(db, tier ?? '', region ?? '')),
    names: () => names(),
    changed: async () => {
      edition.doubt()
      await shared.publish(PRICES_CHANGED, '')
    },
  }
}

type Edition = {
  /** The edition that was last heard of; what is older is not believed. Resolves at once unless it is in doubt. */
  known(): number | Promise<number>
  /** Something may have changed: look before the next price is answered. */
  doubt(): void
}

function watchEdition(db: Db, shared: SharedCache): Edition {
  let edition = 0
  let lookedAt = -Infinity
  let looking: Promise<number> | null = null

  function look(): Promise<number> {
    const startedAt = performance.now()
    const mine: Promise<number> = readPriceEdition(db).then(
      (read) => {
        edition = Math.max(edition, read)
        // A change that came up meanwhile may have been too late for this look.
        if (looking === mine) [lookedAt, looking] = [startedAt, null]
        return edition
      },
      () => {
        // What is known serves on, for as long as it is kept; the next one asks again.
        if (looking === mine) looking = null
        return edition
      },
    )
    looking = mine
    return mine
  }
  const doubt = () => {
    lookedAt = -Infinity
    looking = null
  }
  const hears = shared.subscribe(PRICES_CHANGED, doubt)
  return {
    known: () => {
      const ageMs = performance.now() - lookedAt
      if (ageMs < EDITION_MS) return edition
      if (!hears() || ageMs === Infinity) return looking ?? look()
      // A message may get lost on its way, so once in a while nobody waits for a look all the same.
      if (ageMs > IN_PROCESS_MS && looking === null) void look()
      return edition
    },
    doubt,
  }
}

function cached<Price>(
  edition: Edition,
  shared: SharedCache | null,
  kind: string,
  find: (name: (string | null)[]) => Promise<PricesThen<Price>>,
): (...name: (string | null)[]) => Promise<Price[]> {
  const known = new LRUCache<string, PricesThen<Price>>({ max: NAMES_MAX, ttl: IN_PROCESS_MS })
  const asked = new Map<string, { edition: number; answer: Promise<PricesThen<Price>> }>()

  async function ask(name: string, oldest: number): Promise<PricesThen<Price>> {
    const key = `purser:price:${kind}:${name}`
    const stored = shared === null ? null : await shared.get(key)
    const then = stored === null ? null : (JSON.parse(stored) as PricesThen<Price>)
    if (then !== null && then.edition >= oldest) return then
    const found = await find(JSON.parse(name) as (string | null)[])
    void shared?.set(key, JSON.stringify(found), IN_REDIS_SECONDS)
    return found
  }

  return async (...parts) => {
    const name = JSON.stringify(parts)
    const oldest = await edition.known()
    const there = known.get(name)
    if (there !== undefined && there.edition >= oldest) return there.prices
    // Who asks after a change does not join a look-up from before it.
    const before = asked.get(name)
    if (before !== undefined && before.edition >= oldest) return (await before.answer).prices
    const answer = ask(name, oldest)
    asked.set(name, { edition: oldest, answer })
    try {
      const found = await answer
      if (found.edition >= (known.peek(name)?.edition ?? 0)) known.set(name, found)
      return found.prices
    } finally {
      if (asked.get(name)?.answer === answer) asked.delete(name)
    }
  }
}
