import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { startRedisServer, type RedisProcess } from './redis-server.ts'

/** The default number of databases of a Redis; database 0 records which test file has which. */
const databasesMax = 16
/** A claim expires after this time, because a killed test file does not give it back. */
const claimTtlSeconds = 900

/**
 * The URL of an empty database on the Redis of this run, reserved for this test file until `t` is done.
 * @throws Error when all databases are taken.
 */
export async function claimRedis(t: Test): Promise<string> {
  const server = process.env['REDIS_URL']
  if (!server) throw new Error('REDIS_URL is not set: run tests with "npm test"')
  const claims = new Redis(server)
  const owner = randomUUID()
  for (let database = 1; database < databasesMax; database++) {
    const claim = `purser-test:database:${database}`
    if ((await claims.set(claim, owner, 'EX', claimTtlSeconds, 'NX')) === null) continue
    const url = new URL(server)
    url.pathname = `/${database}`
    await flush(url.href)
    t.teardown(async () => {
      await flush(url.href)
      await claims.del(claim)
      await claims.quit()
    })
    return url.href
  }
  await claims.quit()
  throw new Error(`All ${databasesMax - 1} databases of ${server} are taken by other test files`)
}

/** A separate redis-server, which the test may kill and start again at the same port. Stopped when `t` is done. */
export async function startRedis(t: Test, port?: number): Promise<RedisProcess> {
  const redis = await startRedisServer(port)
  t.teardown(() => redis.kill())
  return redis
}

async function flush(url: string): Promise<void> {
  const client = new Redis(url)
  await client.flushdb()
  await client.quit()
}
