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
/** How often to ask Postgres for the edition of its prices while Redis does not report changes. */
const EDITION_MS = 1_000

/** The channel on which instances announce changed prices. The message is empty: a receiver checks the edition. */
export const PRICES_CHANGED = 'purser:prices-changed'

/**
 * Finds prices by name: in this process, else in Redis, else in Postgres. Unknown names are cached too. Concurrent
 * requests for one name share one lookup.
 *
 * Every instance knows of a change within a second: from a message over Redis or, without one, by asking Postgres for
 * the edition once a second. Whatever was read before the change carries a smaller edition and is not used.
 * @throws the database's error if a price is not cached and Postgres is out of reach.
 */
export type PriceCache = {
  /** All versions of the model that a name means, of one provider or of all (null); empty if the name is unknown. */
  model(provider: string | null, name: string): Promise<NamedPrice[]>
  e2b(tier: string, region: string): Promise<E2bPrice[]>
  /** All names that have ever had a price, to suggest one for a misspelt name. */
  names(): ReturnType<typeof listPricedNames>
  /** Announces changed prices to this instance and the others. Call it after the change is committed. */
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
  /** The latest known edition; anything older must not be used. Returns at once unless it is in doubt. */
  known(): number | Promise<number>
  /** Prices may have changed: check the edition before the next price is answered. */
  doubt(): void
}

function watchEdition(db: Db, shared: SharedCache): Edition {
  let edition = 0
  let checkedAt = -Infinity
  let checking: Promise<number> | null = null

  function checkEdition(): Promise<number> {
    const startedAt = performance.now()
    const mine: Promise<number> = readPriceEdition(db).then(
      (read) => {
        edition = Math.max(edition, read)
        // A change during this check may have come too late for it, so only the latest check counts.
        if (checking === mine) [checkedAt, checking] = [startedAt, null]
        return edition
      },
      () => {
        // Postgres is away: cached prices stay in use until they expire. The next call checks again.
        if (checking === mine) checking = null
        return edition
      },
    )
    checking = mine
    return mine
  }
  const doubt = () => {
    checkedAt = -Infinity
    checking = null
  }
  const hears = shared.subscribe(PRICES_CHANGED, doubt)
  return {
    known: () => {
      const ageMs = performance.now() - checkedAt
      if (ageMs < EDITION_MS) return edition
      if (!hears() || ageMs === Infinity) return checking ?? checkEdition()
      // A message can get lost, so check now and then in the background.
      if (ageMs > IN_PROCESS_MS && checking === null) void checkEdition()
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

  async function findAtLeast(name: string, oldest: number): Promise<PricesThen<Price>> {
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
    // A request after a change must not join a lookup from before it.
    const before = asked.get(name)
    if (before !== undefined && before.edition >= oldest) return (await before.answer).prices
    const answer = findAtLeast(name, oldest)
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
