import t from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { setNow } from '../helpers/fake-clock.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { startService, type Answer } from '../helpers/servers/service.ts'

const database = await createDatabase(t)
await setNow(database, '2027-03-09T23:59:59Z')
const service = await startService(t, database.url)

const hold = (tenantId: string, usd: number, more: object = {}) =>
  service.call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: tenantId,
    estimated_cost_usd: usd,
    ...more,
  })

const commit = ({ json }: Answer, usd: number) =>
  service.call('POST', `/v1/reservations/${json.reservation_id}/commit`, { actual_cost_usd: usd })

async function balances(tenantId: string) {
  const { rows } = await database.pool.query<{ day: string; spent: string; reserved: string }>(
    `select to_char(starts_at at time zone 'UTC', 'YYYY-MM-DD') as day, trim_scale(spent)::text as spent, trim_scale(reserved)::text as reserved
     from copilot_internal.quota_periods where tenant_id = $1 and period = 'day' order by starts_at`,
    [tenantId],
  )
  return rows
}

t.test('a hold made at 23:59:59 and committed at 00:00:01 is spent on the first day', async (t) => {
  const held = await hold('midnight', 2)
  t.equal(held.json.quotas[0].reset_at, '2027-03-10T00:00:00Z')
  await setNow(database, '2027-03-10T00:00:01Z')
  const committed = await commit(held, 1.5)
  t.match(
    committed.json,
    { late: true, cost_usd: 1.5, released_usd: 0.5 },
    'the commit is late: the held period is over',
  )
  t.same(await balances('midnight'), [{ day: '2027-03-09', spent: '1.5', reserved: '0' }])
  const next = await hold('midnight', 50)
  t.equal(next.status, 201, 'the second day stays unchanged')
  t.same(await balances('midnight'), [
    { day: '2027-03-09', spent: '1.5', reserved: '0' },
    { day: '2027-03-10', spent: '0', reserved: '50' },
  ])
})

t.test('the sweeper releases a lapsed hold, and a late commit is still booked', async (t) => {
  await setNow(database, '2027-03-11T10:00:00Z')
  const held = await hold('lapse', 3, { ttl_seconds: 60 })
  await setNow(database, '2027-03-11T10:01:00Z')
  await swept('lapse')
  const read = await service.call('GET', `/v1/reservations/${held.json.reservation_id}`)
  t.match(read.json, { status: 'expired', settled_at: '2027-03-11T10:01:00Z', cost_usd: null, cost_record_ids: [] })
  t.same(await balances('lapse'), [{ day: '2027-03-11', spent: '0', reserved: '0' }])
  t.match(await service.call('POST', `/v1/reservations/${held.json.reservation_id}/release`, {}), {
    status: 200,
    json: { status: 'expired' },
  })
  t.match((await commit(held, 4)).json, { late: true, cost_usd: 4, overrun_usd: 1, released_usd: 0 })
  t.same(await balances('lapse'), [{ day: '2027-03-11', spent: '4', reserved: '0' }])
  await assertHealthy(t, database.pool)
})

t.test('a lapsed hold with on_expiry charge is booked as estimated, and a late commit corrects it', async (t) => {
  await setNow(database, '2027-03-12T10:00:00Z')
  const box = await service.call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    tenant_id: 'charge',
    e2b: { max_seconds: 1000 },
  })
  t.equal(box.json.reserved_usd, 0.03025)
  await setNow(database, '2027-03-12T10:17:40Z')
  await swept('charge')
  const charged = (await service.call('GET', `/v1/reservations/${box.json.reservation_id}`)).json
  t.match(charged, { status: 'expired', cost_usd: 0.03025, on_expiry: 'charge' })
  t.equal(charged.cost_record_ids.length, 1)
  t.same(await balances('charge'), [{ day: '2027-03-12', spent: '0.03025', reserved: '0' }])

  const committed = await service.call('POST', `/v1/reservations/${box.json.reservation_id}/commit`, {
    usage: { seconds: 1200 },
  })
  t.match(committed.json, { late: true, estimated: false, cost_usd: 0.0363, overrun_usd: 0.00605 })
  t.same(await balances('charge'), [{ day: '2027-03-12', spent: '0.0363', reserved: '0' }])
  const { rows } = await database.pool.query(
    `select trim_scale(total_cost_usd)::text as usd, trim_scale(execution_time_seconds)::text as seconds, estimated, corrects is not null as corrects
     from copilot_internal.e2b_cost_records where tenant_id = 'charge' order by total_cost_usd`,
  )
  t.same(rows, [
    { usd: '-0.03025', seconds: '-1000', estimated: true, corrects: true },
    { usd: '0.03025', seconds: '1000', estimated: true, corrects: false },
    { usd: '0.0363', seconds: '1200', estimated: false, corrects: true },
  ])
  const read = (await service.call('GET', `/v1/reservations/${box.json.reservation_id}`)).json
  t.match(read, { status: 'committed', cost_usd: 0.0363 })
  t.equal(read.cost_record_ids.length, 3)
  await assertHealthy(t, database.pool)
})

t.test('a scheduled price applies from its date, by the clock of Postgres', async (t) => {
  await setNow(database, '2026-11-30T23:00:00Z')
  const call = {
    resource_type: 'llm',
    tenant_id: 'scheduled',
    llm: { provider: 'google', model: 'gemini-4-argon', input_tokens: 1_000, max_output_tokens: 1_000 },
  }
  await hold('scheduled', 1)
  const before = await service.call('POST', '/v1/reservations', call)
  t.equal(before.json.reserved_usd, 0.012)
  await setNow(database, '2026-12-01T00:00:00Z')
  await hold('scheduled', 1)
  const after = await service.call('POST', '/v1/reservations', call)
  t.equal(after.json.reserved_usd, 0.024)
  const usage = { input_tokens: 1_000, output_tokens: 1_000 }
  const old = await service.call('POST', `/v1/reservations/${before.json.reservation_id}/commit`, { usage })
  t.match(old.json, { cost_usd: 0.012, price_id: before.json.price_id }, 'the price is that of the reservation')
})

/** Waits until no hold of the tenant is open, so the service's sweeper has run. */
async function swept(tenantId: string): Promise<void> {
  for (;;) {
    const { rows } = await database.pool.query<{ open: number }>(
      `select count(*)::integer as open from copilot_internal.reservations where tenant_id = $1 and status = 'reserved'`,
      [tenantId],
    )
    if (rows[0]!.open === 0) return
  }
}
