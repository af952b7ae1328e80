import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { sealWith } from './seal.ts'

/**
 * A cache that several instances share. It never decides and never fails: what it can't answer in time is a miss, and what
 * it can't store is not stored. It answers only what an instance with the same secret stored under that very key: prices
 * come from here, and who may write to Redis may not thereby say what a call costs.
 */
export type SharedCache = {
  get(key: string): Promise<string | null>
  set(key: string, value: string, ttlSeconds: number): Promise<void>
  drop(keys: string[]): void
  /** One more of a key in its window; null where Redis doesn't answer in time. */
  increment(key: string, windowMs: number): Promise<{ current: number; ttl: number } | null>
  /** Tells all who have subscribed to the channel, and are in reach. Anyone who may write to Redis can do the same. */
  publish(channel: string, message: string): Promise<void>
  /**
   * Calls back for each message, and whenever some may have been missed: when hearing begins, also again.
   *
   * @returns whether messages are heard just now; never where no Redis is configured.
   */
  subscribe(channel: string, onMessage: () => void): () => boolean
  /** Null where no Redis is configured. */
  status(): 'up' | 'down' | null
  close(): Promise<void>
}

const COMMAND_MS = 50
const CONNECT_MS = 1_000
const RECONNECT_MS_MAX = 2_000

const OPTIONS = {
  connectTimeout: CONNECT_MS,
  commandTimeout: COMMAND_MS,
  maxRetriesPerRequest: 1,
  // While Redis is away a command fails at once instead of queueing: that is the circuit breaker.
  enableOfflineQueue: false,
  retryStrategy: (attempt) => Math.min(attempt * 100, RECONNECT_MS_MAX),
} satisfies RedisOptions

/** What a connection to any node of a cluster takes of the first URL. */
function credentialsOf(url: string): Pick<RedisOptions, 'username' | 'password' | 'tls'> {
  const { protocol, username, password } = new URL(url)
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...(protocol === 'rediss:' ? { tls: {} } : {}),
  }
}

/** The nodes that are not named are found by asking those that are; all take the credentials of the first. */
function openCluster(urls: string[]): Cluster {
  return new Cluster(urls, {
    enableOfflineQueue: false,
    clusterRetryStrategy: OPTIONS.retryStrategy,
    // A slot whose node is away is a miss at once.
    retryDelayOnClusterDown: 0,
    retryDelayOnFailover: 0,
    slotsRefreshTimeout: CONNECT_MS,
    redisOptions: {
      connectTimeout: CONNECT_MS,
      commandTimeout: COMMAND_MS,
      maxRetriesPerRequest: 1,
      ...credentialsOf(urls[0]!),
    },
  })
}

/**
 * Opens the shared cache on Redis (7 or later), or one that holds nothing where no URL is given.
 *
 * @param redisUrls of one server; or of some nodes of a cluster, separated by commas, with one user, password and scheme.
 * @param secret of the instances that believe each other: equal for those of one release on one database, and known to nobody else.
 */
export function openSharedCache(
  redisUrls: string | undefined,
  secret: string,
  onError: (error: Error) => void,
): SharedCache {
  if (redisUrls === undefined) {
    return {
      get: async () => null,
      set: async () => {},
      drop: () => {},
      increment: async () => null,
      publish: async () => {},
      subscribe: () => () => false,
      status: () => null,
      close: async () => {},
    }
  }
  const urls = redisUrls.split(',').map((url) => url.trim())
  const redis = urls.length > 1 ? openCluster(urls) : new Redis(redisUrls, OPTIONS)
  const ears: Redis[] = []
  const seal = sealWith(secret)
  let failing = false
  redis.on('error', (error: Error) => {
    if (!failing) onError(error)
    failing = true
  })
  redis.on('ready', () => {
    failing = false
  })
  return {
    get: async (key) => {
      const sealed = await redis.get(key).catch(() => null)
      return sealed === null ? null : seal.open(key, sealed)
    },
    set: async (key, value, ttlSeconds) => {
      await redis.set(key, seal.close(key, value, ttlSeconds), 'EX', ttlSeconds).catch(() => null)
    },
    drop: (keys) => {
      // One command a key: in a cluster the keys live in different slots.
      for (const key of keys) redis.del(key).catch(() => null)
    },
    increment: async (key, windowMs) => {
      const replies = await redis
        .multi()
        .incr(key)
        .pexpire(key, windowMs, 'NX')
        .pttl(key)
        .exec()
        .catch(() => null)
      const [current, ttl] = [replies?.[0]?.[1], replies?.[2]?.[1]]
      return typeof current === 'number' && typeof ttl === 'number' && ttl > 0 ? { current, ttl } : null
    },
    publish: async (channel, message) => {
      await redis.publish(channel, message).catch(() => null)
    },
    subscribe: (channel, onMessage) => {
      // Connections of their own: one that has subscribed takes no other commands. Each node of a cluster tells all.
      const heard = urls.map((url) => {
        let hears = false
        const options = { ...OPTIONS, ...credentialsOf(urls[0]!), commandTimeout: CONNECT_MS, autoResubscribe: false }
        const ear = new Redis(url, options)
        ears.push(ear)
        // The other connection tells of a Redis that is away.
        ear.on('error', () => {})
        ear.on('ready', () => {
          ear.subscribe(channel).then(
            () => {
              hears = true
              onMessage()
            },
            () => ear.disconnect(true),
          )
        })
        ear.on('close', () => {
          hears = false
        })
        ear.on('message', onMessage)
        return () => hears
      })
      return () => heard.some((hears) => hears())
    },
    status: () => (isUp(redis) ? 'up' : 'down'),
    close: async () => {
      redis.disconnect()
      for (const ear of ears) ear.disconnect()
    },
  }
}

/** A cluster takes itself to be ready for as long as it has nodes to try; some node has to be connected. */
function isUp(redis: Redis | Cluster): boolean {
  if (redis.status !== 'ready') return false
  return redis instanceof Redis || redis.nodes().some(({ status }) => status === 'ready')
}
