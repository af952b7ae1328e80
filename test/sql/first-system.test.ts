import t from 'tap'
import { setEnvironmentDefaults } from '../../src/db/quotas/quota-defaults.ts'
import { setQuotas } from '../../src/db/quotas/quotas.ts'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { hold, openSession } from '../helpers/money/spend.ts'

// The functions that callers of the first system use.
const database = await createDatabase(t)
const session = openSession(t, database.url)
const { pool } = session

const e2b = { resource_type: 'e2b', period: 'day' }
await setEnvironmentDefaults(session.db, [{ scope: 'tenant', resource_type: 'e2b', period: 'day', limit_usd: '10' }])
await setQuotas(session.db, [
  { ...e2b, scope: 'platform', limit_usd: '1000' },
  { ...e2b, scope: 'tenant', tenant_id: 'acme', limit_usd: '20' },
  { ...e2b, scope: 'tenant', tenant_id: 'acme', period: 'month', limit_usd: '30' },
  { ...e2b, scope: 'user', tenant_id: 'acme', user_id: 'u', limit_usd: '8' },
  { ...e2b, scope: 'user', tenant_id: 'other', user_id: 'u', limit_usd: '5' },
  { ...e2b, scope: 'tenant', tenant_id: 'warned', limit_usd: '1', enforcement: 'warn' },
  { scope: 'tenant', tenant_id: 'acme', period: 'day', limit_usd: '1' },
])

async function within(scope: string, id: string | null, cost: string | null): Promise<boolean> {
  const { rows } = await pool.query<{ within: boolean }>(
    'select copilot_internal.check_e2b_quota($1, $2, $3) as within',
    [scope, id, cost],
  )
  return rows[0]!.within
}
const increment = (scope: string, id: string | null, amount: string | null) =>
  pool.query('select copilot_internal.increment_e2b_quota_spend($1, $2, $3)', [scope, id, amount])
async function statusOf(scope: string, id: string, type: string | null = 'e2b') {
  const { rows } = await pool.query(
    `select tenant_id, period, trim_scale(limit_usd)::text as limit, trim_scale(spent_usd)::text as spent,
            trim_scale(reserved_usd)::text as reserved, trim_scale(remaining_usd)::text as remaining,
            trim_scale(percent_used)::text as percent, status
     from copilot_internal.get_quota_status($1, $2, $3)`,
    [scope, id, type],
  )
  return rows
}

t.test('check_e2b_quota() compares spent, held and requested money with every enforced quota', async (t) => {
  t.equal(await within('tenant', 'acme', '20'), true, 'exactly the limit')
  t.equal(await within('tenant', 'acme', '20.000000000001'), false)
  await session.reserve(hold('acme', '15', { resource_type: 'e2b' }))
  t.equal(await within('tenant', 'acme', '5'), true)
  t.equal(await within('tenant', 'acme', '5.01'), false, 'held amounts count')
  t.equal(await within('user', 'u', '5'), true)
  t.equal(await within('user', 'u', '6'), false, 'every quota of that user id must allow')
  t.equal(await within('platform', null, '985'), true)
  t.equal(await within('platform', 'anything', '986'), false)
  t.equal(await within('tenant', 'warned', '100'), true, 'a quota that warns never refuses')
  t.equal(await within('tenant', 'never-seen', '10'), true)
  t.equal(await within('tenant', 'never-seen', '11'), false, 'an unknown tenant has the default that it would get')
  for (const [scope, cost] of [
    ['galaxy', '1'],
    ['tenant', '-1'],
    ['tenant', null],
  ] as const)
    await t.rejects(within(scope, 'acme', cost), { code: '22023' }, `${scope} ${cost}`)
})

t.test(
  'increment_e2b_quota_spend() books an estimated record in every quota that applies, and is never refused',
  async (t) => {
    await increment('tenant', 'acme', '2.5')
    await increment('tenant', 'acme', '15')
    t.match(await statusOf('tenant', 'acme'), [
      { period: 'day', limit: '20', spent: '17.5', reserved: '15', remaining: '0', percent: '87.5', status: 'warning' },
      { period: 'month', limit: '30', spent: '17.5', reserved: '15', remaining: '0', status: 'ok' },
    ])
    await increment('tenant', 'acme', '2.5')
    t.match(await statusOf('tenant', 'acme'), [{ spent: '20', status: 'exceeded' }, {}])
    t.match(await statusOf('platform', ''), [{ spent: '20', reserved: '15' }])
    await increment('tenant', 'unheard', '12')
    t.match(
      await statusOf('tenant', 'unheard'),
      [{ limit: '10', spent: '12', status: 'exceeded' }],
      'an unknown tenant gets its default',
    )
    await increment('platform', null, '1')
    t.match(await statusOf('platform', ''), [{ spent: '33' }])
    const { rows } = await pool.query(
      `select count(*)::integer as lines, bool_and(is_estimated) as estimated from copilot_internal.e2b_cost_records`,
    )
    t.same(rows, [{ lines: 5, estimated: true }])
    await assertHealthy(t, pool)
  },
)

t.test('a cost of a user is booked if the id exists in one tenant only, otherwise refused', async (t) => {
  await setQuotas(session.db, [{ ...e2b, scope: 'user', tenant_id: 'acme', user_id: 'only-one', limit_usd: '4' }])
  await increment('user', 'only-one', '3')
  t.match(await statusOf('user', 'only-one'), [
    { tenant_id: 'acme', spent: '3', remaining: '1', percent: '75', status: 'ok' },
  ])
  t.match(await statusOf('tenant', 'acme'), [{ spent: '23' }, { spent: '23' }])
  for (const [scope, id, amount] of [
    ['user', 'u', '1'],
    ['user', 'nobody', '1'],
    ['tenant', '', '1'],
    ['tenant', null, '1'],
    ['tenant', 'acme', '-1'],
    ['tenant', 'acme', null],
    ['galaxy', 'acme', '1'],
  ] as const)
    await t.rejects(increment(scope, id, amount), { code: '22023' }, `${scope} ${id} ${amount}`)
  t.match(await statusOf('user', 'u'), [{ spent: '0' }, { spent: '0' }])
  await assertHealthy(t, pool)
})

t.test('get_quota_status() answers one resource type or both', async (t) => {
  t.equal((await statusOf('tenant', 'acme', null)).length, 3)
  t.equal((await statusOf('tenant', 'acme', 'llm')).length, 1)
  t.same(await statusOf('tenant', 'nobody', null), [])
})
