import { Kysely, PostgresDialect } from 'kysely'
import t from 'tap'
import { openPriceCache, type PriceCache } from '../../src/cache/prices.ts'
import type { SharedCache } from '../../src/cache/shared.ts'
import { createDatabase } from '../helpers/database.ts'

const { pool } = await createDatabase(t)
const MODEL = 'gpt-6.1-sol'

/** A price cache that counts its reads from Postgres and from the shared cache. */
function openCounted(stored = new Map<string, string>()): {
  cache: PriceCache
  asked: { postgres: number; shared: number }
  news: () => void
} {
  const asked = { postgres: 0, shared: 0 }
  let onMessage = () => {}
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }), log: () => void (asked.postgres += 1) })
  const shared: SharedCache = {
    get: async (key) => {
      asked.shared += 1
      return stored.get(key) ?? null
    },
    set: async (key, value) => void stored.set(key, value),
    drop: () => {},
    increment: async () => null,
    publish: async () => {},
    subscribe: (_channel, callBack) => {
      onMessage = callBack
      return () => true
    },
    status: () => 'up',
    close: async () => {},
  }
  return { cache: openPriceCache(db, shared), asked, news: () => onMessage() }
}

t.test('a thousand concurrent requests for an uncached name share one lookup', async (t) => {
  const { cache, asked } = openCounted()
  const answers = await Promise.all(Array.from({ length: 1_000 }, () => cache.model('openai', MODEL)))
  t.equal(new Set(answers).size, 1)
  t.match(answers[0], [{ model: MODEL }])
  t.same(asked, { postgres: 2, shared: 1 }, 'the edition of the prices, and the price')
})

t.test('an unknown name is looked up only once, too', async (t) => {
  const { cache, asked } = openCounted()
  await Promise.all(Array.from({ length: 100 }, () => cache.model(null, 'nobody-knows-it')))
  t.same(await cache.model(null, 'nobody-knows-it'), [])
  t.same(asked, { postgres: 2, shared: 1 })
})

t.test('a cached price asks neither Redis nor Postgres', async (t) => {
  const { cache, asked } = openCounted()
  await cache.model('openai', MODEL)
  await cache.e2b('standard', 'us-east-1')
  const before = { ...asked }
  for (let call = 0; call < 1_000; call += 1) {
    await cache.model('openai', MODEL)
    await cache.e2b('standard', 'us-east-1')
  }
  t.same(asked, before)
})

t.test('a message without a change costs one check of the edition, and the cache stays valid', async (t) => {
  const { cache, asked, news } = openCounted()
  const first = await cache.model('openai', MODEL)
  const before = { ...asked }
  news()
  const all = await Promise.all(Array.from({ length: 100 }, () => cache.model('openai', MODEL)))
  t.ok(all.every((one) => one === first))
  t.same(asked, { postgres: before.postgres + 1, shared: before.shared })
})

t.test('an instance reads from Redis what another has looked up', async (t) => {
  const stored = new Map<string, string>()
  const prices = await openCounted(stored).cache.model('openai', MODEL)
  const { cache, asked } = openCounted(stored)
  t.same(await cache.model('openai', MODEL), JSON.parse(JSON.stringify(prices)))
  t.same(asked, { postgres: 1, shared: 1 }, 'only the edition is asked of Postgres')
})
