import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { openSharedCache } from '../../src/cache/shared.ts'
import { findFreePort } from '../../src/embedded/free-port.ts'
import { startRedisServer } from '../helpers/servers/redis-server.ts'

t.test("messages of a node are received with the first node's password, even if that node is away", async (t) => {
  const server = await startRedisServer(undefined, ['--requirepass', 'secret'])
  t.teardown(() => server.kill())
  const away = `redis://:secret@127.0.0.1:${await findFreePort()}`
  const cache = openSharedCache(`${away},${server.url}`, 'of instances', () => {})
  t.teardown(() => cache.close())
  const hears = cache.subscribe('channel', () => {})
  while (!hears()) await turn()
  t.ok(hears())
})
