// A caller's instant is cut to microseconds when it is read, so every part of the service uses the same value.
import t from 'tap'
import { epochMicros } from '../../src/domain/instant.ts'
import { createDatabase } from '../helpers/database.ts'
import { setNow } from '../helpers/fake-clock.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { startService, type Service } from '../helpers/servers/service.ts'

const database = await createDatabase(t)
const { pool } = database
await setNow(database, '2026-11-19T12:00:00Z')
const service = await startService(t, database.url)
const call: Service['call'] = (...request) => service.call(...request)

await call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'edge', period: 'day', limit_usd: 100 })
const card = (input: number, effectiveDate: string, expiresAt: string | null = null) => ({
  ...{ provider: 'maker', model: 'edge', usd_per_mtok: { input, output: input } },
  ...{ effective_date: effectiveDate, expires_at: expiresAt },
})
const rates = (perVcpu: string, effectiveDate: string) => ({
  ...{ tier: 'edge', vcpu: 1, memory_mib: 1_024, usd_per_vcpu_second: perVcpu, usd_per_gib_second: 0 },
  effective_date: effectiveDate,
})
for (const [path, body] of [
  ['models', card(1, '2026-11-01T00:00:00Z')],
  ['models', card(2, '2026-11-20T00:00:00.0000009Z')],
  ['models', card(4, '2026-11-20T00:05:00.0005Z')],
  ['e2b', rates('1', '2026-11-01T00:00:00Z')],
  ['e2b', rates('2', '2026-11-20T00:00:00Z')],
] as const) {
  const made = await call('POST', `/v1/pricing/${path}`, body)
  if (made.status !== 201) throw new Error(made.text)
}
await setNow(database, '2026-11-20T00:10:00Z')

const million = { provider: 'maker', model: 'edge', usage: { input_tokens: 1_000_000, output_tokens: 0 } }

const AT: [at: string, read: string, callUsd: number, runUsd: number][] = [
  ['2026-11-19T23:59:59.9999999Z', '2026-11-19T23:59:59.999999Z', 1, 3.999999],
  ['2026-11-20T01:59:59.999999999+02:00', '2026-11-19T23:59:59.999999Z', 1, 3.999999],
  ['2026-11-19t23:59:59.9999999z', '2026-11-19T23:59:59.999999Z', 1, 3.999999],
  ['2026-11-20T00:00:00.0000000Z', '2026-11-20T00:00:00Z', 2, 4],
  ['2026-11-20T00:00:00.0000009Z', '2026-11-20T00:00:00Z', 2, 4],
  ['2026-11-20T00:05:00.0004999Z', '2026-11-20T00:05:00.000499Z', 2, 4],
  ['2026-11-20T00:05:00.0005Z', '2026-11-20T00:05:00.0005Z', 4, 4],
]

for (const [at, read, callUsd, runUsd] of AT) {
  t.test(`a record and an estimate agree about ${at}`, async (t) => {
    const tenant = `edge ${at}`
    const subjects = [
      { resource_type: 'llm', llm: million },
      { resource_type: 'e2b', e2b: { tier: 'edge', seconds: 2 } },
    ]
    const estimates = await Promise.all(subjects.map((one) => call('POST', '/v1/estimates', { ...one, at })))
    const costs = estimates.map(({ json }) => json.cost_usd)
    t.same(costs, [callUsd, runUsd])
    const records = subjects.map((one) => ({ ...one, tenant_id: tenant, occurred_at: at }))
    const recorded = await call('POST', '/v1/cost-records', { records })
    t.match(recorded, { status: 201, json: { data: costs.map((cost) => ({ cost_usd: cost })) } }, recorded.text)
    const { rows } = await pool.query<{ micros: string; price: string }>(
      `select (extract(epoch from occurred_at) * 1000000)::bigint as micros, price_id as price
       from copilot_internal.llm_cost_records where tenant_id = $1`,
      [tenant],
    )
    t.equal(BigInt(rows[0]!.micros), epochMicros(read))
    t.equal(Number(rows[0]!.price), estimates[0]!.json.price_id)
  })
}

t.test('a direct record at the end of a day counts in that day', async (t) => {
  const before = await call('GET', '/v1/quotas/status?tenant_id=edge')
  t.equal(before.json.data.length, 1, before.text)
  const record = { resource_type: 'llm', tenant_id: 'edge', cost_usd: 1, occurred_at: '2026-11-19T23:59:59.9999999Z' }
  t.equal((await call('POST', '/v1/cost-records', { records: [record] })).status, 201)
  const { rows } = await pool.query(
    `select to_char(starts_at at time zone 'UTC', 'DD') as day, trim_scale(spent)::text as spent
     from copilot_internal.quota_periods where tenant_id = 'edge' and spent > 0`,
  )
  t.same(rows, [{ day: '19', spent: '1' }])
  await assertHealthy(t, pool)
})

t.test('every other instant of a request is cut to microseconds too', async (t) => {
  const at = '2027-01-31T23:59:59.9999999Z'
  const cut = '2027-01-31T23:59:59.999999'
  const stored = async (statement: string) => (await pool.query<{ at: string }>(statement)).rows.map((row) => row.at)
  const text = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') as at`

  await call('PUT', '/v1/quotas', {
    ...{ scope: 'tenant', tenant_id: 'raised', period: 'day', limit_usd: 1, raise: { limit_usd: 2, until: at } },
  })
  t.same(
    await stored(`select ${text('raise_until')} from copilot_internal.cost_quotas where tenant_id = 'raised'`),
    [cut],
    'the end of a raise',
  )
  await call('POST', '/v1/api-keys', { name: 'ends', role: 'viewer', expires_at: at })
  t.same(await stored(`select ${text('expires_at')} from copilot_internal.api_keys where name = 'ends'`), [cut])
  const made = await call('POST', '/v1/pricing/models', {
    ...card(1, at, '2027-02-01T00:00:00.0000009Z'),
    model: 'short',
  })
  t.equal(made.status, 201, made.text)
  t.same(await stored(`select ${text('effective_date')} from copilot_internal.model_pricing where model = 'short'`), [
    cut,
  ])
  t.same(await stored(`select ${text('expires_at')} from copilot_internal.model_pricing where model = 'short'`), [
    '2027-02-01T00:00:00.000000',
  ])
  t.equal((await call('GET', `/v1/pricing/models?model=short&at=${at}`)).json.data.length, 1)
  t.match(await call('POST', '/v1/pricing/models', { ...card(1, cut + 'Z', at), model: 'none' }), {
    status: 400,
    json: { errors: [{ pointer: '/expires_at' }] },
  })

  const held = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'told',
    estimated_cost_usd: 1,
  })
  const times = { started_at: '2026-11-20T00:00:00.0000019Z', ended_at: '2026-11-20t02:00:01.0000029+02:00' }
  await call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, { actual_cost_usd: 1, call: times })
  const { rows } = await pool.query(
    `select call, duration_ms::float8 as ms from copilot_internal.llm_cost_records where tenant_id = 'told'`,
  )
  t.same(rows, [
    { call: { started_at: '2026-11-20T00:00:00.000001Z', ended_at: '2026-11-20T00:00:01.000002Z' }, ms: 1_000.001 },
  ])
  for (const path of [
    '/v1/audit-log?from=',
    '/v1/events?from=',
    '/v1/reservations?from=',
    '/v1/costs?group_by=model&from=',
  ]) {
    t.equal((await call('GET', `${path}2026-11-20t00:00:00.0000009z`)).status, 200, path)
  }
})
