import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { describeProcess } from '../../../src/embedded/process-table.ts'
import { claimRedis, startRedis } from './redis.ts'

function connect(t: Test, url: string): Redis {
  const client = new Redis(url)
  t.teardown(() => client.disconnect())
  return client
}

t.test('test files that run at the same time do not see each other’s keys', async (t) => {
  const [first, second] = [connect(t, await claimRedis(t)), connect(t, await claimRedis(t))]
  await first.set('key', 'of the first')
  t.equal(await second.get('key'), null)
  t.equal(await first.get('key'), 'of the first')
})

t.test('a database is empty when it is claimed, and free again afterwards', async (t) => {
  for (let round = 1; round <= 20; round++) {
    await t.test(`claim ${round}`, async (t) => {
      const client = connect(t, await claimRedis(t))
      t.equal(await client.dbsize(), 0)
      await client.set('key', 'left behind')
    })
  }
})

t.test('a separate server can be killed and started again at the same address', async (t) => {
  const first = await startRedis(t)
  await first.kill()
  t.equal(describeProcess(first.pid), undefined)
  const second = await startRedis(t, Number(new URL(first.url).port))
  t.equal(second.url, first.url)
  t.equal(await connect(t, second.url).ping(), 'PONG')
})
