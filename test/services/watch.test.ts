import t from 'tap'
import { connect } from '../../src/db/pool/connection.ts'
import { watchCosts } from '../../src/services/costs/watch-costs.ts'
import { watchIntegrity } from '../../src/services/integrity.ts'
import { createDatabase } from '../helpers/database.ts'
import { setNow } from '../helpers/fake-clock.ts'
import { startService } from '../helpers/servers/service.ts'

const database = await createDatabase(t)
const NOW = '2026-11-25T12:07:00Z'
await setNow(database, NOW)
const service = await startService(t, database.url)
const db = connect(database.url)
t.teardown(() => db.destroy())

const HOUR = '2026-11-25T11'
/** The same hour on each of this many earlier days. */
const daysBack = (days: number) => new Date(Date.parse(`${HOUR}:00:00Z`) - days * 86_400_000).toISOString().slice(0, 13)

type Cost = [hour: string, usd: number | string, more?: object]

const recordsOf = (tenantId: string, costs: Cost[]) =>
  costs.map(([hour, usd, more]) => ({
    resource_type: 'llm',
    tenant_id: tenantId,
    occurred_at: `${hour}:05:00Z`,
    cost_usd: usd,
    ...more,
  }))

async function write(records: object[]): Promise<void> {
  const { status, text } = await service.call('POST', '/v1/cost-records', { records })
  if (status !== 201) throw new Error(text)
}

const spent = (tenantId: string, costs: Cost[]) => write(recordsOf(tenantId, costs))

const eventsOf = async (query: string) => (await service.call('GET', `/v1/events?${query}`)).json.data

const days = (count: number, usd: number): Cost[] => Array.from({ length: count }, (_, n) => [daysBack(n + 1), usd])

t.test('an hour far above the same hours of earlier days emits one event with its evidence', async (t) => {
  const usage = { input_tokens: 1_000, output_tokens: 1_000 }
  await spent('spiky', [...days(14, 1.5), [daysBack(3), 0.5], [HOUR, '12.000000000001', { user_id: 'u-1' }]])
  await spent('spiky', [[HOUR, 3, { resource_type: 'e2b', user_id: 'u-2' }]])
  const priced = { resource_type: 'llm', tenant_id: 'spiky', occurred_at: `${HOUR}:59:59.999Z` }
  await service.call('POST', '/v1/cost-records', {
    records: [{ ...priced, llm: { provider: 'google', model: 'gemini-4-argon', usage } }],
  })
  await Promise.all([watchCosts({ db }), watchCosts({ db })])
  await watchCosts({ db })
  const [event, ...more] = await eventsOf('type=cost.anomaly')
  t.same(more, [])
  t.match(event, {
    tenant_id: 'spiky',
    data: {
      hour_starts_at: `${HOUR}:00:00Z`,
      typical_usd: 1.5,
      highest_usd: 2,
      days: 14,
      dearest: [
        { resource_type: 'llm', user_id: 'u-1', cost_usd: 12.000000000001 },
        { resource_type: 'e2b', user_id: 'u-2', cost_usd: 3 },
        { resource_type: 'llm', model: 'google gemini-4-argon' },
      ],
    },
  })
  t.ok(event.data.cost_usd > 15.000000000001)
  t.equal(event.data.same_hours.length, 14)
  t.same(event.data.same_hours.at(-3), { starts_at: `${daysBack(3)}:00:00Z`, cost_usd: 2 })
})

t.test('usual, small or too new costs emit nothing', async (t) => {
  await spent('usual', [...days(14, 10), [HOUR, 29]])
  await spent('small', [...days(14, 0.01), [HOUR, 4.99]])
  await spent('weekly', [
    [daysBack(14), 30],
    [daysBack(7), 40],
    [HOUR, 50],
  ])
  await spent('new', [...days(6, 1), [HOUR, 100]])
  await spent('neighbour', [...days(14, 1), ['2026-11-25T07', 100], [HOUR, 1]])
  await watchCosts({ db })
  t.same((await eventsOf('type=cost.anomaly')).length, 1)
  // Exactly at each bound.
  await spent('edge', [...days(13, 4), [daysBack(14), 8], [HOUR, 12]])
  await spent('below', [...days(13, 4), [daysBack(14), 8], [HOUR, '11.999999999999']])
  await spent('seven', [...days(7, 1), [HOUR, 5]])
  await watchCosts({ db })
  const told = (await eventsOf('type=cost.anomaly')).map(({ tenant_id: id }: { tenant_id: string }) => id)
  t.same(told.toSorted(), ['edge', 'seven', 'spiky'])
})

t.test('a later run emits for a missed hour or late costs, and no run emits for the current hour', async (t) => {
  const hour = '2026-11-25T09'
  const before = Array.from({ length: 8 }, (_, n): Cost => [
    new Date(Date.parse(`${hour}:00:00Z`) - (n + 1) * 86_400_000).toISOString().slice(0, 13),
    1,
  ])
  await spent('late', [...before, [hour, 50]])
  await spent('running', [...days(14, 1), ['2026-11-25T12', 50]])
  await watchCosts({ db })
  t.match(await eventsOf('type=cost.anomaly&tenant_id=late'), [{ data: { hour_starts_at: `${hour}:00:00Z` } }])
  t.same(await eventsOf('type=cost.anomaly&tenant_id=running'), [])
})

t.test('many tenants are checked in steps', async (t) => {
  const tenants = Array.from({ length: 250 }, (_, n) => `many-${n}`)
  while (tenants.length > 0)
    await write(tenants.splice(0, 25).flatMap((tenantId) => recordsOf(tenantId, [...days(7, 1), [HOUR, 9]])))
  await watchCosts({ db })
  const events = (await eventsOf('type=cost.anomaly&limit=1000')) as { tenant_id: string }[]
  t.equal(
    new Set(events.filter(({ tenant_id: id }) => id.startsWith('many-')).map(({ tenant_id: id }) => id)).size,
    250,
  )
})

t.test('broken books emit one event a day, with the first violations', async (t) => {
  t.equal(await watchIntegrity({ db }), 0)
  t.same(await eventsOf('type=integrity.broken'), [])
  await database.pool.query('update copilot_internal.quota_periods set reserved = reserved + 2')
  const broken = await watchIntegrity({ db })
  t.ok(broken > 20)
  await watchIntegrity({ db })
  const [event, ...more] = await eventsOf('type=integrity.broken')
  t.same(more, [])
  t.equal(event.data.broken_rows, broken)
  t.equal(event.data.broken.length, 20)
  t.match(event.data.broken[0], { invariant: 'I1', subject: /^quota_period \d+$/, detail: /^reserved is 2/ })
  await setNow(database, '2026-11-26T00:00:00Z')
  await watchIntegrity({ db })
  t.equal((await eventsOf('type=integrity.broken')).length, 2)
  await database.pool.query('update copilot_internal.quota_periods set reserved = reserved - 2')
})
