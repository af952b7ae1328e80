import t from 'tap'
import { setQuotas } from '../../src/db/quotas/quotas.ts'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { booking, hold, openSession } from '../helpers/money/spend.ts'

const database = await createDatabase(t)
const session = openSession(t, database.url)

await setQuotas(session.db, [{ scope: 'tenant', tenant_id: 'acme', period: 'total', limit_usd: '100' }])
const items = [hold('acme', '1'), hold('acme', '2'), hold('acme', '4')]
const [open, released, committed] = items.map(({ reservation_id: id }) => id) as [string, string, string]
await session.reserve(...items)
await session.release(released)
await session.commit(booking(committed, '8'))
const { rows: balances } = await session.pool.query<{ id: string }>(
  'select quota_period_id as id from copilot_internal.quota_periods',
)
const balance = `quota_period ${balances[0]!.id}`

/** What check_integrity() reports after these statements, which are then rolled back. */
async function reportAfter(...statements: string[]): Promise<{ invariant: string; subject: string; detail: string }[]> {
  await session.pool.query('begin')
  try {
    for (const statement of statements) await session.pool.query(statement)
    const { rows } = await session.pool.query(
      'select * from copilot_internal.check_integrity() order by invariant, subject, detail',
    )
    return rows
  } finally {
    await session.pool.query('rollback')
  }
}

t.test('nothing is reported while every invariant holds', (t) => assertHealthy(t, session.pool))

const BREAKS: { name: string; statements: string[]; expected: object[] }[] = [
  {
    name: 'I1: a balance that holds more than its open holds',
    statements: ['update copilot_internal.quota_periods set reserved = reserved + 0.000000000001'],
    expected: [{ invariant: 'I1', subject: balance, detail: /^reserved is 1\.000000000001, its open holds sum to 1$/ }],
  },
  {
    name: 'I1: an open hold that no balance counts',
    statements: [`update copilot_internal.reservations set quota_period_ids = '{}' where reservation_id = '${open}'`],
    expected: [{ invariant: 'I1', subject: balance, detail: /^reserved is 1, its open holds sum to 0$/ }],
  },
  {
    name: 'I1: a balance that has spent less than its records',
    statements: ['update copilot_internal.quota_periods set spent = spent - 0.5'],
    expected: [{ invariant: 'I1', subject: balance, detail: /^spent is 7\.5, opening 0 \+ archived 0 \+ records 8$/ }],
  },
  {
    name: 'I1: a cost that counts as archived and is still in a record',
    statements: ['update copilot_internal.quota_periods set archived_usd = 8'],
    expected: [{ invariant: 'I1', subject: balance, detail: /^spent is 8, opening 0 \+ archived 8 \+ records 8$/ }],
  },
  {
    name: 'I1: an open hold whose balance is missing',
    statements: [
      `update copilot_internal.reservations set quota_period_ids = quota_period_ids || 9007199254740991
       where reservation_id = '${open}'`,
    ],
    expected: [
      {
        invariant: 'I1',
        subject: 'quota_period 9007199254740991',
        detail: /^open holds of 1 name it, but it is not there$/,
      },
    ],
  },
  {
    name: 'I1: a record that no balance counts',
    statements: [`update copilot_internal.llm_cost_records set quota_period_ids = '{}'`],
    expected: [{ invariant: 'I1', subject: balance, detail: /^spent is 8, opening 0 \+ archived 0 \+ records 0$/ }],
  },
  {
    name: 'I2: a balance above its limit and its raise',
    statements: [
      `update copilot_internal.quota_periods set limit_usd = 5, raise_limit_usd = 8, raise_until = '9999-01-01'`,
    ],
    expected: [{ invariant: 'I2', subject: balance, detail: /^spent 8 \+ reserved 1 is above the limit 5 / }],
  },
  {
    name: 'I2: a balance above its limit without a cause',
    statements: ['update copilot_internal.quota_periods set limit_usd = 8.999999999999'],
    expected: [
      { invariant: 'I10', subject: balance, detail: /^spent 8 has reached 0\.8 of the limit 8\.999999999999/ },
      { invariant: 'I2', subject: balance, detail: /^spent 8 \+ reserved 1 is above the limit 8\.999999999999/ },
    ],
  },
  {
    name: 'I10: a threshold that was reached without an event',
    statements: [
      'update copilot_internal.quota_periods set limit_usd = 10',
      'delete from copilot_internal.quota_events',
    ],
    expected: [
      { invariant: 'I10', subject: balance, detail: /^spent 8 has reached 0\.8 of the limit 10, but no event/ },
    ],
  },
  {
    name: 'I10: an event that was emitted twice',
    statements: [
      'drop index copilot_internal.quota_events_once',
      `insert into copilot_internal.quota_events (event_id, type, created_at, once_key, data)
       select gen_random_uuid(), 'quota.overrun', copilot_internal.clock_now(), 'twice', '{}' from generate_series(1, 2)`,
    ],
    expected: [{ invariant: 'I10', subject: 'quota_event twice', detail: /^quota.overrun was emitted 2 times$/ }],
  },
  {
    name: 'I3: a hold that lapsed more than a minute ago and was not settled',
    statements: [
      `update copilot_internal.reservations set expires_at = copilot_internal.clock_now() - interval '61 seconds'
       where reservation_id = '${open}'`,
    ],
    expected: [{ invariant: 'I3', subject: `reservation ${open}`, detail: /^still reserved, but lapsed at / }],
  },
  {
    name: 'I3: a status that does not fit the time of settlement',
    statements: [
      'alter table copilot_internal.reservations drop constraint reservations_settled',
      `update copilot_internal.reservations set settled_at = null where reservation_id = '${released}'`,
    ],
    expected: [
      { invariant: 'I3', subject: `reservation ${released}`, detail: /^status released does not fit settled_at / },
    ],
  },
  {
    name: 'I3: an open hold that has a time of settlement',
    statements: [
      'alter table copilot_internal.reservations drop constraint reservations_settled',
      `update copilot_internal.reservations set settled_at = copilot_internal.clock_now() where reservation_id = '${open}'`,
    ],
    expected: [
      { invariant: 'I3', subject: `reservation ${open}`, detail: /^status reserved does not fit settled_at \d/ },
    ],
  },
  {
    name: 'I4: a committed reservation without its cost',
    statements: [`update copilot_internal.reservations set cost_usd = null where reservation_id = '${committed}'`],
    expected: [{ invariant: 'I4', subject: `reservation ${committed}`, detail: /^status committed, / }],
  },
  {
    name: 'I4: a committed reservation without a cost record',
    statements: [
      'delete from copilot_internal.llm_cost_records',
      'update copilot_internal.quota_periods set archived_usd = 8',
    ],
    expected: [
      { invariant: 'I4', subject: `reservation ${committed}`, detail: /but 0 lines of cost stand$/ },
      { invariant: 'I7', subject: /^rollup month / },
      { invariant: 'I7', subject: /^rollup quarter / },
    ],
  },
  {
    name: 'I4: a committed reservation with two cost records',
    statements: [
      `insert into copilot_internal.llm_cost_records (cost_record_id, reservation_id, tenant_id, total_cost_usd, quota_period_ids,
         occurred_at, booked_at, recorded_at)
       select gen_random_uuid(), reservation_id, tenant_id, 0, quota_period_ids, occurred_at, booked_at, recorded_at
       from copilot_internal.llm_cost_records`,
    ],
    expected: [{ invariant: 'I4', subject: `reservation ${committed}`, detail: /but 2 lines of cost stand$/ }],
  },
  {
    name: 'I4: a released hold with a cost record',
    statements: [
      `insert into copilot_internal.llm_cost_records (cost_record_id, reservation_id, tenant_id, total_cost_usd, quota_period_ids,
         occurred_at, booked_at, recorded_at)
       select gen_random_uuid(), '${released}', tenant_id, 0, quota_period_ids, occurred_at, booked_at, recorded_at
       from copilot_internal.llm_cost_records`,
    ],
    expected: [
      {
        invariant: 'I4',
        subject: `reservation ${released}`,
        detail: /^status released, cost record none, but 1 lines of cost stand$/,
      },
    ],
  },
  {
    name: 'I4: a charged lapse without a cost record',
    statements: [
      `update copilot_internal.reservations set status = 'expired', cost_record_id = gen_random_uuid(), cost_usd = 2
       where reservation_id = '${released}'`,
    ],
    expected: [
      { invariant: 'I4', subject: `reservation ${released}`, detail: /^status expired, .* but 0 lines of cost stand$/ },
    ],
  },
  {
    name: 'keys: two reservations with one idempotency key of one principal and tenant',
    statements: [
      'drop index copilot_internal.reservations_idempotency',
      `update copilot_internal.reservations set idempotency_key = 'one' where reservation_id in ('${open}', '${released}')`,
    ],
    expected: [
      {
        invariant: 'keys',
        subject: 'principal test, tenant acme',
        detail: new RegExp(`^2 reservations have the idempotency key one: ${open}, ${released}$`),
      },
    ],
  },
]

for (const { name, statements, expected } of BREAKS) {
  t.test(`a broken invariant is reported by name: ${name}`, async (t) => {
    const found = await reportAfter(...statements)
    t.equal(found.length, expected.length)
    t.match(found, expected)
  })
}

t.test('a raised balance above its limit and equal keys of two principals are not reported', async (t) => {
  const found = await reportAfter(
    `update copilot_internal.quota_periods set limit_usd = 5, raise_limit_usd = 9, raise_until = '9999-01-01'`,
    `update copilot_internal.reservations set idempotency_key = 'one', principal = reservation_id::text`,
  )
  t.same(found, [])
})

t.test('several broken invariants are reported at once', async (t) => {
  const found = await reportAfter(
    'update copilot_internal.quota_periods set reserved = 0, spent = 200',
    'delete from copilot_internal.llm_cost_records',
  )
  const told = ['I1', 'I1', 'I10', 'I10', 'I10', 'I2', 'I4', 'I7', 'I7']
  t.same(found.map(({ invariant }) => invariant).toSorted(), told)
})
