import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)
t.teardown(() => setNow(database, null))
await setNow(database, '2027-03-09T22:00:00Z')

type Key = { key_id: string; by: { authorization: string } }

async function keyOf(maxUsd: number | string): Promise<Key> {
  const body = { name: 'records', role: 'service', tenant_id: 'acme', max_record_usd_per_day: maxUsd }
  const { json } = await service.call('POST', '/v1/api-keys', body)
  return { key_id: json.key_id, by: { authorization: `Bearer ${json.key}` } }
}

const record = ({ by }: Pick<Key, 'by'>, ...costs: object[]) =>
  service.call('POST', '/v1/cost-records', { records: costs.map((one) => ({ resource_type: 'llm', ...one })) }, by)

async function spent(): Promise<string> {
  const { rows } = await database.pool.query<{ usd: string }>(
    'select trim_scale(coalesce(sum(total_cost_usd), 0))::text as usd from copilot_internal.llm_cost_records',
  )
  return rows[0]!.usd
}

t.test('a list that would exceed the key’s daily ceiling is refused as a whole', async (t) => {
  const key = await keyOf('10.5')
  t.equal((await record(key, { cost_usd: 4 }, { cost_usd: 6 })).status, 201)
  const refused = await record(key, { cost_usd: 0.25, idempotency_key: 'again' }, { cost_usd: 0.5 })
  t.match(refused, { status: 403, json: { code: 'forbidden' } })
  t.match(refused.json.detail, /may record 10\.50 USD a day \(UTC\) and has recorded 10\.00 today; 0\.75 is too much/)
  t.equal(await spent(), '10')
  t.equal(
    (await record(key, { cost_usd: 0.5, idempotency_key: 'again' })).status,
    201,
    'the idempotency keys of the refused list can be used again',
  )
  t.match(await record(key, { cost_usd: 0.5, idempotency_key: 'again' }), { json: { data: [{ replayed: true }] } })
  t.equal((await record(key, { cost_usd: 0 })).status, 201)
  t.equal((await record(key, { cost_usd: 1e-12 })).status, 403)

  const rotated = await service.call('POST', `/v1/api-keys/${key.key_id}/rotate`, {})
  t.match(rotated.json, { max_record_usd_per_day: 10.5 })
  const after = { by: { authorization: `Bearer ${rotated.json.key}` } }
  t.equal((await record(after, { cost_usd: 0.01 })).status, 403, 'a rotated key keeps its count')
  t.equal((await record(await keyOf(0), { cost_usd: 0.01 })).status, 403)
  t.equal((await record(await keyOf(20), { cost_usd: 11 })).status, 201, 'each API key has its own count')

  await setNow(database, '2027-03-10T00:00:00Z')
  t.equal((await record(after, { cost_usd: 10.5 })).status, 201, 'the day is a UTC day')
  t.equal(
    (await record(after, { cost_usd: 0.01, occurred_at: '2027-03-09T12:00:00Z' })).status,
    403,
    'the day is that of the recording',
  )
  await assertHealthy(t, database.pool)
})

t.test('concurrent calls of a key never record more than its daily ceiling', async (t) => {
  const key = await keyOf(10)
  const before = Number(await spent())
  const answers = await Promise.all(Array.from({ length: 12 }, () => record(key, { cost_usd: 3 })))
  t.same(
    answers.map(({ status }) => status).toSorted((a, b) => a - b),
    [...Array.from({ length: 3 }, () => 201), ...Array.from({ length: 9 }, () => 403)],
  )
  t.equal(Number(await spent()) - before, 9)
})

t.test('a ceiling is shown, needs the role service, and its daily counts are deleted', async (t) => {
  const make = (body: object) => service.call('POST', '/v1/api-keys', { name: 'k', role: 'service', ...body })
  t.match((await make({})).json, { max_record_usd_per_day: null })
  t.match((await make({ max_record_usd_per_day: 0.30000000000000004 })).json, { max_record_usd_per_day: 0.3 })
  for (const body of [
    { role: 'admin', max_record_usd_per_day: 1 },
    { role: 'viewer', tenant_id: 'acme', max_record_usd_per_day: 1 },
    { max_record_usd_per_day: -1 },
    { max_record_usd_per_day: 'much' },
  ]) {
    t.match(await make(body), { status: 400, json: { errors: [{ pointer: '/max_record_usd_per_day' }] } })
  }
  const days = async () =>
    (
      await database.pool.query<{ day: string }>(
        'select distinct day::text from copilot_internal.record_days order by day',
      )
    ).rows
  t.same(await days(), [{ day: '2027-03-09' }, { day: '2027-03-10' }])
  await database.pool.query(`select copilot_internal.delete_settled('2027-03-10T12:00:00Z', 1000)`)
  t.same(await days(), [{ day: '2027-03-10' }])
})
