import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
await setNow(database, '2027-03-09T10:00:00Z')
const service = await startService(t, database.url)

const post = (path: string, body: object) => service.call('POST', path, body)
const reserve = (body: object) => post('/v1/reservations', body)
const llm = { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 12_000, max_output_tokens: 2_000 }

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

t.test('a lapsed hold is released or charged, by its policy or by its resource type’s default', async (t) => {
  await setNow(database, '2027-03-09T10:00:00Z')
  const kinds: [body: object, ttlSeconds: number, onExpiry: 'release' | 'charge'][] = [
    [{ resource_type: 'llm', llm }, 120, 'release'],
    [{ resource_type: 'llm', estimated_cost_usd: 0.25 }, 120, 'release'],
    [{ resource_type: 'llm', llm, on_expiry: 'charge', ttl_seconds: 1 }, 1, 'charge'],
    [{ resource_type: 'llm', estimated_cost_usd: 0.25, on_expiry: 'charge' }, 120, 'charge'],
    [{ resource_type: 'e2b', e2b: { max_seconds: 1_000 } }, 1_060, 'charge'],
    [{ resource_type: 'e2b', e2b: { max_seconds: 10.5 } }, 71, 'charge'],
    [{ resource_type: 'e2b', e2b: { max_seconds: 86_400 }, on_expiry: 'release' }, 86_460, 'release'],
    [{ resource_type: 'e2b', e2b: { tier: 'medium', max_seconds: 10 }, ttl_seconds: 90_000 }, 90_000, 'charge'],
    [{ resource_type: 'e2b', estimated_cost_usd: 0.25 }, 120, 'charge'],
    [{ resource_type: 'e2b', estimated_cost_usd: 0.25, on_expiry: 'release' }, 120, 'release'],
  ]
  const held = []
  for (const [body, ttlSeconds, onExpiry] of kinds) {
    const { status, json } = await reserve({ ...body, tenant_id: 'policies' })
    t.equal(status, 201)
    const name = `${JSON.stringify(body)}: ${ttlSeconds} s, ${onExpiry}`
    t.equal(Date.parse(json.expires_at) - Date.parse(json.created_at), ttlSeconds * 1000, name)
    t.equal((await service.call('GET', `/v1/reservations/${json.reservation_id}`)).json.on_expiry, onExpiry, name)
    held.push({ id: json.reservation_id, reservedUsd: json.reserved_usd, onExpiry, name })
  }
  await setNow(database, '2027-03-10T11:00:00Z')
  await swept('policies')
  for (const { id, reservedUsd, onExpiry, name } of held) {
    const { json } = await service.call('GET', `/v1/reservations/${id}`)
    t.match(json, { status: 'expired', settled_at: /^2027-03-10T11:00:/, reserved_usd: reservedUsd }, name)
    t.equal(json.cost_usd, onExpiry === 'charge' ? reservedUsd : null, name)
    t.equal(json.cost_record_ids.length, onExpiry === 'charge' ? 1 : 0, name)
    if (onExpiry === 'release') continue
    const lines = await service.call('GET', `/v1/cost-records?reservation_id=${id}`)
    t.match(lines.json.data, [{ estimated: true, cost_usd: reservedUsd, occurred_at: '2027-03-09T10:00:00Z' }], name)
  }
  await assertHealthy(t, database.pool)
})

t.test('a capped sandbox that lapses is charged for its granted seconds', async (t) => {
  await setNow(database, '2027-04-09T10:00:00Z')
  const setLimit = (usd: number) =>
    service.call('PUT', '/v1/quotas', {
      resource_type: 'e2b',
      scope: 'tenant',
      tenant_id: 'capped',
      period: 'day',
      limit_usd: usd,
    })
  await setLimit(0.0194)
  const body = { resource_type: 'e2b', tenant_id: 'capped', allow_caps: true, e2b: { max_seconds: 1_800 } }
  const box = await reserve(body)
  t.match(box.json, { caps: { max_runtime_seconds: 641 }, reserved_usd: 0.01939025 })
  await setLimit(1)
  const grown = await reserve({ ...body, e2b: { max_seconds: 100 } })
  t.match(grown.json, { caps: null, reserved_usd: 0.003025 })
  const extended = await post(`/v1/reservations/${grown.json.reservation_id}/extend`, {
    estimate: { max_seconds: 200 },
  })
  t.match(extended, { status: 200, json: { reserved_usd: 0.00605 } })
  await setNow(database, '2027-04-09T11:00:00Z')
  await swept('capped')
  const lines = await service.call('GET', '/v1/cost-records?tenant_id=capped')
  const charged = lines.json.data.map(({ usage, cost_usd: usd }: { usage: object; cost_usd: number }) => [usage, usd])
  t.same(
    charged.toSorted((a: [object, number], b: [object, number]) => a[1] - b[1]),
    [
      [{ seconds: 200 }, 0.00605],
      [{ seconds: 641 }, 0.01939025],
    ],
  )
  await assertHealthy(t, database.pool)
})

t.test(
  'caps are absent if the unit is free or none fits, never exceed the request, and do not change the expiry',
  async (t) => {
    await setNow(database, '2027-05-09T10:00:00Z')
    await database.pool.query(`select copilot_internal.publish_model_prices($1)`, [
      JSON.stringify([
        {
          provider: 'openai',
          model: 'free-output',
          effective_date: '2026-01-01T00:00:00Z',
          source: 'test',
          usd_per_mtok: { input: '2', output: '0' },
        },
      ]),
    ])
    const setLimit = (usd: number) =>
      service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'caps', period: 'day', limit_usd: usd })
    const capped = (more: object) => reserve({ resource_type: 'llm', tenant_id: 'caps', allow_caps: true, ...more })
    const free = { provider: 'openai', model: 'free-output', input_tokens: 1_000_000, max_output_tokens: 10 }
    await setLimit(1)
    t.equal((await capped({ llm: free })).status, 429, 'the unit price is 0, so no cap helps')
    await setLimit(0.03)
    t.equal((await capped({ llm })).status, 429, 'the input alone uses the whole room')
    await setLimit(0.030009)
    t.equal((await capped({ llm })).status, 429, 'a token costs 0.00001')
    await setLimit(0.03001)
    const one = await capped({ llm })
    t.match(one, { status: 201, json: { caps: { max_output_tokens: 1 }, reserved_usd: 0.03001, warnings: [] } })
    t.equal(Date.parse(one.json.expires_at) - Date.parse(one.json.created_at), 120_000)
    await setLimit(10)
    t.match((await capped({ llm })).json, { caps: null, reserved_usd: 0.05 }, 'the full request fits')
    await assertHealthy(t, database.pool)
  },
)
