import { Cluster } from 'ioredis'
import t, { type Test } from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startRedisCluster } from '../../helpers/servers/redis-cluster.ts'
import { startService, type Service } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const cluster = await startRedisCluster(['--cluster-require-full-coverage', 'no'])
t.teardown(() => cluster.stop())
const settings = { REDIS_URL: cluster.url, PURSER_RATE_LIMIT_READS: '2000' }
const service = await startService(t, database.url, settings)
const other = await startService(t, database.url, settings)
const client = new Cluster(cluster.nodes.map(({ url }) => url))
client.on('error', () => {})
t.teardown(() => client.disconnect())

/** Waits until a condition holds. The test runner's timeout bounds the wait. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds()));
}

const redisCheck = async (of: Service) => (await of.call('GET', '/readyz')).json.checks.redis as string

for (const one of [service, other]) await until(async () => (await redisCheck(one)) === 'up')

/** More scopes than nodes, so that each node keeps some. */
const TENANTS = Array.from({ length: 24 }, (_, n) => `${'abcdefghijklmnopqrstuvwxyz'[n]!.repeat(n + 1)}`)

const hold = (of: Service, tenantId: string) =>
  of.call('POST', '/v1/reservations', { resource_type: 'llm', tenant_id: tenantId, estimated_cost_usd: 1 })

async function readReserved(of: Service, tenantId: string) {
  const { status, json } = await of.call('GET', `/v1/quotas/status?tenant_id=${tenantId}`)
  const row = json.data?.find((one: Record<string, unknown>) => one['resource_type'] === 'llm')
  return { status, reserved: row?.reserved_usd }
}

const statusKey = (tenantId: string) => `purser:quota-status:${JSON.stringify([tenantId, ''])}`

/** Two instances reserve, read, settle and read again. Each sees what the other did. */
async function assertWorking(t: Test, before: number): Promise<void> {
  for (const tenant of TENANTS) {
    const held = await hold(service, tenant)
    t.equal(held.status, 201, tenant)
    t.same(await readReserved(other, tenant), { status: 200, reserved: before + 1 }, tenant)
    const path = `/v1/reservations/${held.json.reservation_id}`
    t.equal((await other.call('POST', `${path}/commit`, { actual_cost_usd: '0.01' })).status, 200, tenant)
    t.same(await readReserved(service, tenant), { status: 200, reserved: before }, tenant)
  }
  await assertHealthy(t, database.pool)
}

t.test('a Redis cluster keeps each status on the node of its slot, and every instance drops it', async (t) => {
  await assertWorking(t, 0)
  for (const tenant of TENANTS) {
    await readReserved(service, tenant)
    await until(async () => (await client.exists(statusKey(tenant))) === 1)
  }
  const kept = await Promise.all(client.nodes('master').map((node) => node.dbsize()))
  t.equal(kept.length, 3)
  t.ok(kept.filter((keys) => keys > 0).length > 1, `${kept.join(', ')} keys on the nodes`)
})

t.test('with a Redis cluster, a price change reaches the other instance and both share a rate limit', async (t) => {
  const llm = { provider: 'maker', model: 'cluster', input_tokens: 1_000_000, max_output_tokens: 0 }
  const price = async (of: Service) => {
    const body = { resource_type: 'llm', tenant_id: 'priced', llm }
    const { status, json } = await of.call('POST', '/v1/reservations/check', body)
    return status === 200 ? json.requested_usd : status
  }
  const publish = (input: number, effective_date: string) =>
    service.call('POST', '/v1/pricing/models', {
      provider: 'maker',
      model: 'cluster',
      usd_per_mtok: { input, output: 1 },
      effective_date,
    })
  t.equal(await price(other), 422)
  t.equal((await publish(3, '2026-01-01T00:00:00Z')).status, 201)
  t.equal(await price(service), 3)
  await until(async () => (await price(other)) === 3)
  t.equal((await publish(4, '2026-02-01T00:00:00Z')).status, 201)
  await until(async () => (await price(other)) === 4)
  const limited = await Promise.all(
    [service, other].map((of) =>
      of.call('GET', '/v1/quotas', undefined, { authorization: `Bearer ${'x'.repeat(40)}` }),
    ),
  )
  t.same(
    limited.map(({ status }) => status),
    [401, 401],
  )
  const counters = (await Promise.all(client.nodes('master').map((node) => node.keys('*failed:*')))).flat()
  t.equal(counters.length, 1)
  t.equal(await client.get(counters[0]!), '2')
})

t.test('losing one node changes no decision', async (t) => {
  await Promise.all(TENANTS.map((tenant) => hold(service, tenant)))
  await cluster.nodes[1]!.kill()
  await assertWorking(t, 1)
  for (const one of [service, other]) t.match(await one.call('GET', '/readyz'), { status: 200 })
})

t.test('losing every node changes no decision', async (t) => {
  await Promise.all(cluster.nodes.map((node) => node.kill()))
  await until(async () => (await redisCheck(service)) === 'down' && (await redisCheck(other)) === 'down')
  await assertWorking(t, 1)
})
