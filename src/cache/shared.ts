import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { sealWith } from './seal.ts'

/**
 * A cache that several instances share. It never decides and never fails: a read that is too slow is a miss, and a
 * write that fails is dropped. It returns only what an instance with the same secret stored under that key: prices
 * come from here, and write access to Redis must not mean control over what a call costs.
 */
export type SharedCache = {
  get(key: string): Promise<string | null>
  set(key: string, value: string, ttlSeconds: number): Promise<void>
  drop(keys: string[]): void
  /** Adds one to a key's count in its window; null if Redis does not answer in time. */
  increment(key: string, windowMs: number): Promise<{ current: number; ttl: number } | null>
  /**
   * Sends a message to all reachable subscribers of the channel. Anyone with write access to Redis can do the same.
   */
  publish(channel: string, message: string): Promise<void>
  /**
   * Calls back for each message, and whenever messages may have been missed: each time the subscription starts.
   *
   * @returns whether messages are received at the moment; always false without Redis.
   */
  subscribe(channel: string, onMessage: () => void): () => boolean
  /** Null if no Redis is configured. */
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
  // While Redis is away, commands fail at once instead of queueing. This is the circuit breaker.
  enableOfflineQueue: false,
  retryStrategy: (attempt) => Math.min(attempt * 100, RECONNECT_MS_MAX),
} satisfies RedisOptions

/** The credentials from the first URL, for connections to any node of a cluster. */
function credentialsOf(url: string): Pick<RedisOptions, 'username' | 'password' | 'tls'> {
  const { protocol, username, password } = new URL(url)
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...(protocol === 'rediss:' ? { tls: {} } : {}),
  }
}

/**
 * Connects to a cluster. Nodes that are not listed are discovered from those that are; all use the credentials of the
 * first.
 */
function openCluster(urls: string[]): Cluster {
  return new Cluster(urls, {
    enableOfflineQueue: false,
    clusterRetryStrategy: OPTIONS.retryStrategy,
    // A slot whose node is away counts as a miss at once.
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
 * Opens the shared cache on Redis (7 or later), or an empty one if no URL is given.
 *
 * @param redisUrls one server; or some nodes of a cluster, separated by commas, with the same user, password and
 * scheme.
 * @param secret shared by the instances that trust each other: those of one release on one database. Nobody else
 * knows it.
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
      // One command per key: in a cluster the keys belong to different slots.
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
      // A subscribed connection takes no other commands, so these are separate. Each node of a cluster receives all
      // messages.
      const heard = urls.map((url) => {
        let hears = false
        const options = { ...OPTIONS, ...credentialsOf(urls[0]!), commandTimeout: CONNECT_MS, autoResubscribe: false }
        const ear = new Redis(url, options)
        ears.push(ear)
        // The main connection reports that Redis is away.
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

/**
 * Whether Redis can be used. A cluster counts as ready while it has nodes left to try, so check that one is
 * connected.
 */
function isUp(redis: Redis | Cluster): boolean {
  if (redis.status !== 'ready') return false
  return redis instanceof Redis || redis.nodes().some(({ status }) => status === 'ready')
}
