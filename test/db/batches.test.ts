import t from 'tap'
import { checkSpend } from '../../src/db/reservations/check-spend.ts'
import { connect } from '../../src/db/pool/connection.ts'
import { commitSpend, type CommitItem } from '../../src/db/reservations/commit-spend.ts'
import { extendReservations, type ExtendItem } from '../../src/db/reservations/extend-reservations.ts'
import { groupCommit } from '../../src/db/pool/group-commit.ts'
import { setEnvironmentDefaults } from '../../src/db/quotas/quota-defaults.ts'
import { reserveSpend, type ReserveItem } from '../../src/db/reservations/reserve-spend.ts'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { booking, hold, openSession } from '../helpers/money/spend.ts'

const database = await createDatabase(t)
const db = connect(database.url)
t.teardown(() => db.destroy())

/** The sizes of the batches that were sent to Postgres. */
const sizes: number[] = []
const decide = groupCommit({
  run: (items: ReserveItem[]) => {
    sizes.push(items.length)
    return reserveSpend(db, items, 'enforce')
  },
  keyOf: ({ idempotency_key: key }) => key,
  lockOf: ({ tenant_id: tenantId }) => tenantId,
})
const settle = groupCommit({
  run: (items: CommitItem[]) => {
    sizes.push(items.length)
    return commitSpend(db, items)
  },
  keyOf: ({ reservation_id: id }) => id,
})
const extend = groupCommit({
  run: (items: ExtendItem[]) => {
    sizes.push(items.length)
    return extendReservations(db, items, 'enforce')
  },
  keyOf: ({ reservation_id: id }) => id,
})

await setEnvironmentDefaults(db, [{ scope: 'tenant', resource_type: 'llm', period: 'day', limit_usd: '50' }])

/** Locks the balances of a tenant while `work` runs. */
async function whileLocked(tenantId: string, work: () => Promise<void>): Promise<void> {
  const client = await database.pool.connect()
  try {
    await client.query('begin')
    await client.query('select from copilot_internal.quota_periods where tenant_id = $1 for update', [tenantId])
    await work()
    await client.query('rollback')
  } finally {
    client.release()
  }
}

t.test(
  'in a batch of many tenants, a lock on one tenant fails only the items of that tenant, as unavailable',
  async (t) => {
    const tenants = Array.from({ length: 12 }, (_, n) => `t-${n}`)
    await Promise.all(tenants.map((tenant) => decide(hold(tenant, '1'))))
    const items = tenants.flatMap((tenant) => [hold(tenant, '1'), hold(tenant, '2')])
    await whileLocked('t-5', async () => {
      sizes.length = 0
      const outcomes = await Promise.allSettled(items.map((item) => decide(item)))
      t.equal(sizes[0], 24, 'all items are in one batch at first')
      for (const [n, outcome] of outcomes.entries()) {
        const tenant = items[n]!.tenant_id
        if (tenant !== 't-5')
          t.match(outcome, { status: 'fulfilled', value: { outcome: { granted: /^[12]$/ } } }, tenant)
        else t.match(outcome, { status: 'rejected', reason: { code: 'unavailable', headers: { 'retry-after': '1' } } })
      }
    })
    // An item may already be held, if its last try got the lock after the release.
    await Promise.all(items.slice(10, 12).map((item) => decide(item)))
    const { rows } = await database.pool.query(
      `select count(*)::integer as holds from copilot_internal.reservations where tenant_id = 't-5'`,
    )
    t.same(rows, [{ holds: 3 }], 'after a retry each item is held once')
    await assertHealthy(t, database.pool)
  },
)

t.test('a commit whose balance is locked fails alone, and is booked once when it is sent again', async (t) => {
  const items = Array.from({ length: 8 }, (_, n) => hold(`c-${n}`, '1'))
  await Promise.all(items.map((item) => decide(item)))
  const bookings = items.map(({ reservation_id: id }) => booking(id, '0.5'))
  await whileLocked('c-3', async () => {
    sizes.length = 0
    const outcomes = await Promise.allSettled(bookings.map((item) => settle(item)))
    t.equal(sizes[0], 8)
    t.same(
      outcomes.map(({ status }) => status),
      items.map((_, n) => (n === 3 ? 'rejected' : 'fulfilled')),
    )
  })
  t.match(await settle(bookings[3]!), { outcome: { committed: { cost_usd: /^0\.50*$/ } } })
  const { rows } = await database.pool.query(
    `select count(*)::integer as lines from copilot_internal.llm_cost_records where tenant_id like 'c-%'`,
  )
  t.same(rows, [{ lines: 8 }])
  await assertHealthy(t, database.pool)
})

t.test(
  'an item that Postgres does not accept fails alone, in a batch where others are granted or refused',
  async (t) => {
    const good = Array.from({ length: 6 }, (_, n) => hold(`p-${n}`, '1'))
    const refused = [hold('p-0', '60'), hold('p-1', '60')]
    const poisonous = hold('p-2', '1', { on_expiry: 'never' as 'release' })
    sizes.length = 0
    const outcomes = await Promise.allSettled([...good, poisonous, ...refused].map((item) => decide(item)))
    t.equal(sizes[0], 9)
    for (const outcome of outcomes.slice(0, 6)) t.match(outcome, { value: { outcome: { granted: '1' } } })
    t.match(outcomes[6], { status: 'rejected', reason: { code: /^2[23]/ } })
    for (const outcome of outcomes.slice(7)) t.match(outcome, { value: { outcome: { refused: {} } } })
    const { rows } = await database.pool.query(
      `select count(*)::integer as holds from copilot_internal.reservations where tenant_id like 'p-%'`,
    )
    t.same(rows, [{ holds: 6 }])
    await assertHealthy(t, database.pool)
  },
)

t.test('an item that is finally refused does not reduce the room of the items after it', async (t) => {
  const [other, batch] = [openSession(t, database.url), openSession(t, database.url)]
  await reserveSpend(db, [hold('looked', '1')], 'enforce')
  const { rows } = await batch.pool.query<{ pid: number }>('select pg_backend_pid() as pid')
  await other.pool.query('begin')
  t.match(await other.reserve(hold('looked', '10')), [{ outcome: { granted: '10' } }])
  // When the batch reads the balance, each of the first two fits, but not both. Once the lock is free, the first no longer fits.
  const deciding = batch.reserve(hold('looked', '45'), hold('looked', '8'), hold('looked', '60'))
  for (;;) {
    const { rows: waits } = await database.pool.query('select where cardinality(pg_blocking_pids($1)) > 0', [
      rows[0]!.pid,
    ])
    if (waits.length > 0) break
  }
  await other.pool.query('commit')
  t.match(await deciding, [
    { outcome: { refused: { largest_allowed_usd: /^39/, violations: [[Number, /^0/, /^11/]] } } },
    { outcome: { granted: '8' } },
    { outcome: { refused: { largest_allowed_usd: /^49/, violations: [[Number, /^0/, /^1/]] } } },
  ])
  await assertHealthy(t, database.pool)
})

t.test('each check in a batch is answered separately, for its own tenant', async (t) => {
  await decide(hold('check-1', '20', { user_id: 'u' }))
  const items = [
    hold('check-1', '30'),
    hold('check-1', '30', { user_id: 'u' }),
    hold('check-2', '50'),
    hold('check-1', '31'),
    hold('check-2', '51'),
  ]
  const checks = await checkSpend(db, items, 'enforce')
  t.match(
    checks.map(({ outcome, largestAllowedUsd }) => ({ outcome, largestAllowedUsd })),
    [
      { outcome: { granted: '30' }, largestAllowedUsd: '30' },
      { outcome: { granted: '30' }, largestAllowedUsd: '30' },
      { outcome: { granted: '50' }, largestAllowedUsd: '50' },
      { outcome: { refused: { largest_allowed_usd: '30' } }, largestAllowedUsd: '30' },
      { outcome: { refused: { largest_allowed_usd: '50' } }, largestAllowedUsd: '50' },
    ],
  )
  for (const [i, { outcome, quotas, all }] of checks.entries()) {
    t.match(quotas, [{ scopeId: items[i]!.tenant_id }])
    if (!('refused' in outcome)) continue
    t.same(
      outcome.refused.violations.map(([place]) => all[place]),
      quotas,
    )
  }
  const { rows } = await database.pool.query(
    'select count(*)::integer as n from copilot_internal.reservations where tenant_id = $1',
    ['check-2'],
  )
  t.same(rows, [{ n: 0 }])
})

t.test('each extension in a batch has its own answer; one of only time waits for no balance', async (t) => {
  const holds = [
    ['extend-1', '10'],
    ['extend-1', '20'],
    ['extend-2', '10'],
    ['extend-3', '10'],
  ].map(([tenant, usd]) => hold(tenant!, usd!, { estimate: { estimated_cost_usd: usd } }))
  await Promise.all(holds.map((item) => decide(item)))
  const more = (usd: string) => ({ estimate: { estimated_cost_usd: usd }, amount_usd: usd })
  const longer = (n: number, total: ExtendItem['total'] = null): ExtendItem => ({
    ...{ reservation_id: holds[n]!.reservation_id, tenant_id: null },
    ...{ total, ttl_seconds: 6_000 },
  })
  sizes.length = 0
  const unknown = { ...longer(0), reservation_id: '00000000-0000-7000-8000-000000000000' }
  const answers = await Promise.all(
    [longer(0, more('25')), longer(1, more('26')), unknown, longer(2)].map((one) => extend(one)),
  )
  t.same(sizes, [4])
  t.match(answers, [
    { extended: { reserved_usd: '25' } },
    { refused: { largest_allowed_usd: '25' } },
    { unknown: true },
    { extended: { reserved_usd: '10' }, all: [{ scopeId: 'extend-2', reservedUsd: '10' }] },
  ])
  await whileLocked('extend-2', async () => {
    const [alone, beside] = await Promise.allSettled(
      [longer(2, more('11')), longer(3, more('11'))].map((one) => extend(one)),
    )
    t.match(alone, { status: 'rejected', reason: { code: 'unavailable' } })
    t.match(beside, { status: 'fulfilled', value: { extended: { reserved_usd: '11' } } })
    t.match(await extend(longer(2)), { extended: { reserved_usd: '10' } })
  })
  await t.rejects(extendReservations(db, [longer(0), longer(0)], 'enforce'), /each reservation once/)
  await assertHealthy(t, database.pool)
})
