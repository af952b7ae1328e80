import t from 'tap'
import { emitMissingPrices, emitUnreadUsage } from '../../src/db/alerts/events.ts'
import { migrateUp } from '../../src/db/migrate/migrations.ts'
import { createEmptyDatabase } from '../helpers/database.ts'
import { downBefore } from '../helpers/down-before.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { booking, hold, openSession } from '../helpers/money/spend.ts'

const silent = () => {}

t.test('down and up across unreadable usage keeps the costs and the counts of unpriced names', async (t) => {
  const { pool, url } = await createEmptyDatabase(t)
  await migrateUp(pool, silent)
  const session = openSession(t, url)
  const item = hold('acme', '2')
  await session.reserve(item)
  const { cost_usd: _, ...commit } = booking(item.reservation_id, 'reserved', { measure: 'reserved' })
  await session.commit({ ...commit, unreadable_usage: { reasons: [], provider_usage: {} } })
  await emitUnreadUsage(session.db, [{ principal: 'p', provider: 'acme', field: '/usage/tokens' }])
  const missing = (model: string) => ({ principal: 'p', tenantId: 'acme', provider: 'acme', model })
  await emitMissingPrices(session.db, [missing('m')])
  const endpoint = (types: string) =>
    pool.query(`insert into copilot_internal.webhook_endpoints (endpoint_id, kind, url, types, enabled, created_at, updated_at)
      values (gen_random_uuid(), 'slack', 'https://hooks.example.com', '${types}', true, now(), now())`)
  await endpoint('{usage.unread}')
  await endpoint('{usage.unread,price.missing,usage.unreadable}')
  await endpoint('{}')

  await downBefore(pool, '_unreadable_usage')
  const costs = await pool.query(
    'select trim_scale(total_cost_usd)::text as usd, estimate_reason from copilot_internal.llm_cost_records',
  )
  t.same(costs.rows, [{ usd: '2', estimate_reason: 'usage_unreadable' }])
  t.same((await pool.query('select type from copilot_internal.quota_events')).rows, [{ type: 'price.missing' }])
  t.same((await pool.query('select principal, names::integer from copilot_internal.missing_price_counts')).rows, [
    { principal: 'p', names: 1 },
  ])
  t.same(
    (await pool.query('select types, enabled from copilot_internal.webhook_endpoints order by types, enabled')).rows,
    [
      { types: [], enabled: false },
      { types: [], enabled: true },
      { types: ['price.missing'], enabled: true },
    ],
    'an endpoint of only the new types is disabled and does not get every type',
  )

  await migrateUp(pool, silent)
  await emitMissingPrices(session.db, [missing('m'), missing('another')])
  t.same((await pool.query('select type, names::integer from copilot_internal.name_counts')).rows, [
    { type: 'price.missing', names: 2 },
  ])
  await assertHealthy(t, pool)
})
