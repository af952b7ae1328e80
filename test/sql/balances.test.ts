import Big from 'big.js'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { giveDefaults, setEnvironmentDefaults } from '../../src/db/quotas/quota-defaults.ts'
import { deleteQuota, setQuotas, sumAhead, type QuotaInput } from '../../src/db/quotas/quotas.ts'
import { expireReservations } from '../../src/db/reservations/expire-reservations.ts'
import { releaseSpend } from '../../src/db/reservations/release-spend.ts'
import type { ReserveItem } from '../../src/db/reservations/reserve-spend.ts'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { exactFloor } from '../proof/model.ts'
import { booking, hashOf, hold, openSession, spending } from '../helpers/money/spend.ts'

const database = await createDatabase(t)
const session = openSession(t, database.url)
const seed = Number(process.env['PURSER_TEST_SEED'] ?? Date.now() % 2 ** 31)
t.comment(`property tests with seed ${seed}; PURSER_TEST_SEED repeats them`)

const NOON = '2026-11-10T12:00:00Z'

/** A test that begins at noon without open holds, and ends with every invariant intact. */
function guarantee(name: string, prove: (t: Test) => Promise<void>): void {
  t.test(name, async (t) => {
    await session.moveTo(NOON)
    await prove(t)
    await assertHealthy(t, session.pool)
    await session.moveTo('2100-01-01T00:00:00Z')
    while ((await expireReservations(session.db, 500)) > 0);
  })
}

/** Sums ahead and then sets, as the service does. */
async function setQuota(tenantId: string, limitUsd: string, changes: Partial<QuotaInput> = {}) {
  const input = { scope: 'tenant', tenant_id: tenantId, period: 'day', limit_usd: limitUsd, ...changes }
  return setQuotas(session.db, await sumAhead(session.db, [input]))
}

/** Makes a hold, which must be granted, and returns its id. */
async function held(tenantId: string, amountUsd: string, changes: Partial<ReserveItem> = {}): Promise<string> {
  const item = hold(tenantId, amountUsd, changes)
  const [decision] = await session.reserve(item)
  if (!('granted' in decision!.outcome)) throw new Error(JSON.stringify(decision!.outcome))
  return item.reservation_id
}

async function booked(tenantId: string, amountUsd: string): Promise<void> {
  await session.commit(booking(await held(tenantId, amountUsd), amountUsd))
}

/** Each balance of a tenant's quotas as text, the oldest first: state, start, spent, opening, reserved. */
async function balancesOf(tenantId: string): Promise<string[]> {
  const { rows } = await database.pool.query<{ line: string }>(
    `select concat_ws(' ', period, case when closed_at is null then 'runs' else 'closed' end,
       'from ' || to_char(starts_at at time zone 'UTC', 'MM-DD HH24:MI'),
       'spent ' || trim_scale(spent), 'opening ' || trim_scale(opening_usd), 'reserved ' || trim_scale(reserved)) as line
     from copilot_internal.quota_periods where tenant_id = $1 order by quota_period_id`,
    [tenantId],
  )
  return rows.map(({ line }) => line)
}

// ---- Rules 6, 7 and 8

guarantee(
  'a new quota opens with the costs that its scope has booked in the current period, and adopts its open holds',
  async (t) => {
    await session.moveTo('2026-11-09T12:00:00Z')
    await booked('new', '1')
    await session.moveTo(NOON)
    await booked('new', '2')
    await booked('other', '64')
    const open = await held('new', '8', { user_id: 'u' })
    await setQuota('new', '100')
    await setQuota('new', '100', { period: 'month' })
    await setQuota('new', '100', { scope: 'user', user_id: 'u' })
    t.same(await balancesOf('new'), [
      'day runs from 11-10 00:00 spent 2 opening 2 reserved 8',
      'month runs from 11-01 00:00 spent 3 opening 3 reserved 8',
      'day runs from 11-10 00:00 spent 0 opening 0 reserved 8',
    ])
    const [settlement] = await session.commit(booking(open, '16'))
    t.equal(settlement!.quotas.length, 3, 'the commit answers the balances that adopted the hold')
    t.same(await balancesOf('new'), [
      'day runs from 11-10 00:00 spent 18 opening 2 reserved 0',
      'month runs from 11-01 00:00 spent 19 opening 3 reserved 0',
      'day runs from 11-10 00:00 spent 16 opening 0 reserved 0',
    ])
  },
)

guarantee('a correction does not reduce a period that did not count its cost record', async (t) => {
  await setQuota('uncounted', '10')
  await booked('uncounted', '3')
  await session.moveTo('2026-11-11T12:00:00Z')
  // The day of the quota has ended, so deleting the quota does not close it.
  await session.pool.query(
    `select copilot_internal.delete_quota(quota_id) from copilot_internal.cost_quotas where tenant_id = 'uncounted'`,
  )
  const line = spending('uncounted', '1', { occurred_at: NOON })
  await session.record(line)
  await session.correct(line.cost_record_id, '0')
  t.same(await balancesOf('uncounted'), ['day runs from 11-10 00:00 spent 3 opening 0 reserved 0'])
})

guarantee('a new quota below the booked and held amounts refuses new requests and keeps open holds', async (t) => {
  await booked('late-quota', '2')
  const open = await held('late-quota', '3')
  await setQuota('late-quota', '4')
  await assertHealthy(t, session.pool)
  t.match(await session.reserve(hold('late-quota', '0.000000000001')), [
    { outcome: { refused: { largest_allowed_usd: '0' } } },
  ])
  t.match(await session.commit(booking(open, '3')), [{ outcome: { committed: { late: false } } }])
})

guarantee('a limit lowered below the spent and held amounts refuses new requests and keeps open holds', async (t) => {
  await setQuota('lowered', '100')
  await booked('lowered', '20')
  const [first, second] = [await held('lowered', '30'), await held('lowered', '5')]
  await setQuota('lowered', '10')
  t.match(await session.reserve(hold('lowered', '1')), [{ outcome: { refused: { largest_allowed_usd: '0' } } }])
  t.match(await session.commit(booking(first, '35')), [{ outcome: { committed: { cost_usd: '35' } } }])
  t.match(await session.release(second), [{ settled: { status: 'released' } }])
  t.same(await balancesOf('lowered'), ['day runs from 11-10 00:00 spent 55 opening 0 reserved 0'])
  await setQuota('lowered', '56')
  t.match(await session.reserve(hold('lowered', '1'), hold('lowered', '1')), [
    { outcome: { granted: '1' } },
    { outcome: { refused: { largest_allowed_usd: '0' } } },
  ])
})

guarantee('another time zone closes the balance and opens a new one, and open holds settle in both', async (t) => {
  await setQuota('moved', '100')
  await session.moveTo('2026-11-10T01:00:00Z')
  await booked('moved', '1')
  await session.moveTo('2026-11-10T06:00:00Z')
  await booked('moved', '2')
  await session.moveTo(NOON)
  const [committed, released, lapsed] = [
    await held('moved', '4', { ttl_seconds: 86_400 }),
    await held('moved', '8', { ttl_seconds: 86_400 }),
    await held('moved', '16', { on_expiry: 'charge', ttl_seconds: 60 }),
  ]
  await setQuota('moved', '100', { time_zone: 'America/New_York' })
  t.same(await balancesOf('moved'), [
    'day closed from 11-10 00:00 spent 3 opening 0 reserved 28',
    'day runs from 11-10 05:00 spent 2 opening 2 reserved 28',
  ])
  await booked('moved', '0.5')
  t.match(await session.commit(booking(committed, '5')), [{ outcome: { committed: { late: false } } }])
  await session.release(released)
  t.ok(lapsed)
  await session.moveTo('2026-11-10T12:01:00Z')
  t.equal(await expireReservations(session.db, 500), 1)
  t.same(await balancesOf('moved'), [
    'day closed from 11-10 00:00 spent 24 opening 0 reserved 0',
    'day runs from 11-10 05:00 spent 23.5 opening 2 reserved 0',
  ])
})

guarantee('a lapsed hold that cannot be settled does not stop the sweep from settling others', async (t) => {
  await setQuota('repaired', '100')
  await setQuota('sound', '100')
  const ids = [await held('repaired', '1', { ttl_seconds: 60 }), await held('sound', '1', { ttl_seconds: 60 })]
  const add = (usd: number) =>
    database.pool.query(
      'update copilot_internal.quota_periods set reserved = reserved + $1 where tenant_id = $2 and closed_at is null',
      [usd, 'repaired'],
    )
  await add(-1)
  await session.moveTo('2026-11-10T12:01:00Z')
  t.equal(await expireReservations(session.db, 500), 1)
  const { rows } = await database.pool.query(
    'select status from copilot_internal.reservations where reservation_id = any ($1) order by array_position($1, reservation_id)',
    [ids],
  )
  t.same(rows, [{ status: 'reserved' }, { status: 'expired' }])
  await add(1)
  t.equal(await expireReservations(session.db, 500), 1, 'the hold is settled once its balance is repaired')
})

guarantee('a balance given twice in a call with p_distinct is an error and changes nothing', async (t) => {
  await setQuota('doubled', '100')
  const id = await held('doubled', '5')
  const { rows } = await database.pool.query<{ id: string }>(
    'select unnest(quota_period_ids) as id from copilot_internal.reservations where reservation_id = $1',
    [id],
  )
  const balance = rows.at(-1)!.id
  const change = (distinct: boolean) =>
    database.pool.query(
      `select c.over from copilot_internal.change_balances(array[$1, $1]::bigint[], array[0, 0], array[1, -1], 'commit',
         copilot_internal.clock_now(), p_distinct => $2) c`,
      [balance, distinct],
    )
  await t.rejects(change(true), { code: '23503', message: /comes twice/ })
  await change(false)
})

guarantee('a decision about a missing balance fails and changes nothing', async (t) => {
  await setQuota('damaged', '100')
  const id = await held('damaged', '5')
  const { rows: reserved } = await database.pool.query(
    `select quota_period_ids as ids from copilot_internal.reservations where reservation_id = $1`,
    [id],
  )
  const { rows: balances } = await database.pool.query(
    'delete from copilot_internal.quota_periods p where p.quota_period_id = any ($1) returning row_to_json(p)::text as json',
    [reserved[0].ids],
  )
  await t.rejects(session.commit(booking(id, '4')), { code: '23503', message: /a balance is not there/ })
  await t.rejects(session.release(id), { code: '23503' })
  await t.rejects(session.reserve(hold('damaged', '1')), { code: '23503' })
  for (const { json } of balances)
    await database.pool.query(
      'insert into copilot_internal.quota_periods overriding system value select * from json_populate_record(null::copilot_internal.quota_periods, $1)',
      [json],
    )
  t.same(await balancesOf('damaged'), ['day runs from 11-10 00:00 spent 0 opening 0 reserved 5'])
  t.match(await session.commit(booking(id, '4')), [{ outcome: { committed: { cost_usd: '4' } } }])
})

guarantee('a new time zone whose current day began at the same moment as an ended day replaces that day', async (t) => {
  // The clocks of the Azores go back on this day. It begins with the day of UTC and is an hour longer.
  await session.moveTo('2026-10-25T12:00:00Z')
  await setQuota('azores', '100')
  await booked('azores', '1')
  const open = await held('azores', '2', { ttl_seconds: 86_400 })
  await session.moveTo('2026-10-26T00:30:00Z')
  await setQuota('azores', '100', { time_zone: 'Atlantic/Azores' })
  await booked('azores', '4')
  t.match(await session.commit(booking(open, '2')), [{ outcome: { committed: { late: true } } }])
  t.same(await balancesOf('azores'), [
    'day closed from 10-25 00:00 spent 3 opening 0 reserved 0',
    'day runs from 10-25 00:00 spent 7 opening 1 reserved 0',
  ])
})

guarantee('setting a quota to the same time zone again closes no balance', async (t) => {
  await setQuota('same', '10', { time_zone: 'Asia/Kathmandu' })
  await setQuota('same', '20', { time_zone: 'Asia/Kathmandu' })
  t.same(await balancesOf('same'), ['day runs from 11-09 18:15 spent 0 opening 0 reserved 0'])
})

guarantee('a late commit of a released hold also counts in balances opened since the hold', async (t) => {
  await setQuota('released', '100')
  const [first, second] = [await held('released', '1'), await held('released', '2')]
  await session.release(first, second)
  await setQuota('released', '100', { time_zone: 'Europe/Dublin' })
  await setQuota('released', '100', { period: 'month', time_zone: 'Europe/Dublin' })
  await setQuota('released', '100', { scope: 'user', user_id: 'somebody-else' })
  t.match(await session.commit(booking(first, '3')), [
    { outcome: { committed: { late: true, released_usd: '0', cost_usd: '3' } } },
  ])
  // Tomorrow's day does not contain the moment of the hold; this month still does.
  await session.moveTo('2026-11-11T12:00:00Z')
  await booked('released', '0.5')
  t.match(await session.commit(booking(second, '4')), [{ outcome: { committed: { late: true } } }])
  t.same(await balancesOf('released'), [
    'day closed from 11-10 00:00 spent 7 opening 0 reserved 0',
    'day runs from 11-10 00:00 spent 7 opening 0 reserved 0',
    'month runs from 11-01 00:00 spent 7.5 opening 0 reserved 0',
    'day runs from 11-10 00:00 spent 0 opening 0 reserved 0',
    'day runs from 11-11 00:00 spent 0.5 opening 0 reserved 0',
  ])
})

guarantee('a commit after a charged lapse replaces the charge, also in balances opened since the hold', async (t) => {
  await setQuota('charged', '100')
  const id = await held('charged', '8', { on_expiry: 'charge', ttl_seconds: 60 })
  await session.moveTo('2026-11-10T12:01:00Z')
  t.equal(await expireReservations(session.db, 500), 1)
  await setQuota('charged', '100', { period: 'month' })
  t.same(await balancesOf('charged'), [
    'day runs from 11-10 00:00 spent 8 opening 0 reserved 0',
    'month runs from 11-01 00:00 spent 8 opening 8 reserved 0',
  ])
  t.match(await session.commit(booking(id, '5')), [{ outcome: { committed: { cost_usd: '5', late: true } } }])
  t.same(await balancesOf('charged'), [
    'day runs from 11-10 00:00 spent 5 opening 0 reserved 0',
    'month runs from 11-01 00:00 spent 5 opening 8 reserved 0',
  ])
})

guarantee('a hold stays in the periods in which it was granted, even after midnight', async (t) => {
  await setQuota('midnight', '10')
  await session.moveTo('2026-11-10T23:59:00Z')
  const id = await held('midnight', '10')
  await session.moveTo('2026-11-11T00:00:00Z')
  const next = await held('midnight', '10')
  t.match(await session.commit(booking(id, '7')), [{ outcome: { committed: { late: true } } }])
  t.match(await session.commit(booking(next, '9')), [{ outcome: { committed: { late: false } } }])
  t.same(await balancesOf('midnight'), [
    'day runs from 11-10 00:00 spent 7 opening 0 reserved 0',
    'day runs from 11-11 00:00 spent 9 opening 0 reserved 0',
  ])
})

guarantee('a raise applies until its end, and holds granted under it stay', async (t) => {
  await setQuota('raised', '10', { raise: { limit_usd: '20', until: '2026-11-10T13:00:00Z' } })
  const id = await held('raised', '15', { ttl_seconds: 86_400 })
  t.match(await session.reserve(hold('raised', '6')), [{ outcome: { refused: { largest_allowed_usd: '5' } } }])
  await session.moveTo('2026-11-10T12:59:59.999999Z')
  await held('raised', '1', { ttl_seconds: 86_400 })
  await session.moveTo('2026-11-10T13:00:00Z')
  const [refused] = await session.reserve(hold('raised', '0.01'))
  t.match(refused, {
    outcome: { refused: { largest_allowed_usd: '0' } },
    quotas: [{ limitUsd: '10', reservedUsd: '16' }],
  })
  t.match(await session.commit(booking(id, '2')), [{ outcome: { committed: { cost_usd: '2' } } }])
  t.match(await session.reserve(hold('raised', '8'), hold('raised', '7')), [
    { outcome: { refused: { largest_allowed_usd: '7' } } },
    { outcome: { granted: '7' } },
  ])
})

guarantee(
  'a record booked in the next period counts there, if a quota is made, re-zoned, revived or given by default before it',
  async (t) => {
    const ahead = async (costUsd: string, userId: string | null = null) => {
      const item = spending('ahead', costUsd, { occurred_at: '2026-11-10T13:01:00Z', user_id: userId })
      await session.record(item)
      return item.cost_record_id
    }
    await session.moveTo('2026-11-10T12:57:00Z')
    const first = await ahead('4')
    await held('ahead', '1')
    await setQuota('ahead', '10', { period: 'hour' })
    const next = (spent: number, opening: number) =>
      `hour runs from 11-10 13:00 spent ${spent} opening ${opening} reserved 0`
    t.same(
      await balancesOf('ahead'),
      ['hour runs from 11-10 12:00 spent 0 opening 0 reserved 1', next(4, 4)],
      'made: a hold stays in the period in which it was granted',
    )
    await ahead('2')
    t.equal((await balancesOf('ahead')).at(-1), next(6, 4))

    await setQuota('ahead', '10', { period: 'hour', time_zone: 'Asia/Kathmandu' })
    t.equal((await balancesOf('ahead')).at(-1), next(6, 6), 're-zoned')

    const { rows } = await session.pool.query<{ id: number }>(
      `select quota_id as id from copilot_internal.cost_quotas where tenant_id = 'ahead'`,
    )
    await deleteQuota(session.db, Number(rows[0]!.id))
    await ahead('1')
    t.match(await setQuota('ahead', '10', { period: 'hour' }), [{ made: true }])
    t.equal((await balancesOf('ahead')).at(-1), next(7, 7), 'revived')
    await ahead('0.5', 'u')
    await setEnvironmentDefaults(session.db, [
      { scope: 'user', resource_type: 'llm', period: 'hour', limit_usd: '0.6' },
    ])
    await giveDefaults(session.db)
    t.equal((await balancesOf('ahead')).at(-1), next(0.5, 0.5), 'given by default')

    await session.moveTo('2026-11-10T13:02:00Z')
    t.match(await session.reserve(hold('ahead', '0.2', { user_id: 'u' }), hold('ahead', '2.5')), [
      { outcome: { refused: { largest_allowed_usd: '0.1' } } },
      { outcome: { granted: '2.5' } },
    ])
    // The record of 4 USD from before the quota was made now costs 3.
    await session.correct(first, '3')
    t.ok((await balancesOf('ahead')).includes('hour runs from 11-10 13:00 spent 6.5 opening 7 reserved 2.5'))
    await session.pool.query('delete from copilot_internal.quota_defaults')
  },
)

guarantee('a balance that opens above its thresholds because of a record booked ahead emits warnings', async (t) => {
  await session.moveTo('2026-11-10T12:57:00Z')
  await session.record(spending('ahead-told', '9', { occurred_at: '2026-11-10T13:01:00Z' }))
  await setQuota('ahead-told', '10', { period: 'hour' })
  const { rows } = await session.pool.query<{ event: string }>(
    `select type || ' ' || (data ->> 'threshold') as event from copilot_internal.quota_events where tenant_id = 'ahead-told' order by once_key`,
  )
  t.same(
    rows.map(({ event }) => event),
    ['quota.warning 0.8', 'quota.warning 0.9'],
  )
})

guarantee(
  'defaults apply from the first request; an administrator’s quota and default stay when the environment changes',
  async (t) => {
    const environment = async (limitUsd: string) => {
      await setEnvironmentDefaults(session.db, [
        { scope: 'tenant', resource_type: 'llm', period: 'hour', limit_usd: limitUsd },
      ])
      await giveDefaults(session.db)
    }
    const limitOf = async (tenantId: string) => {
      const [decision] = await session.reserve(hold(tenantId, '0'))
      return decision!.quotas.find(({ period }) => period === 'hour')?.limitUsd
    }
    await booked('default-old', '3')
    await environment('50')
    t.match(await session.reserve(hold('default-new', '51')), [{ outcome: { refused: { largest_allowed_usd: '50' } } }])
    t.same(
      await balancesOf('default-old'),
      ['hour runs from 11-10 12:00 spent 3 opening 3 reserved 0'],
      'a tenant that was known before gets the default too',
    )
    await setQuota('default-set', '7', { period: 'hour' })
    t.same(
      [await limitOf('default-new'), await limitOf('default-old'), await limitOf('default-set')],
      ['50', '50', '7'],
    )

    await environment('20')
    t.same([await limitOf('default-new'), await limitOf('default-set'), await limitOf('default-20')], ['20', '7', '20'])

    await session.pool.query(`select copilot_internal.set_quota_defaults($1)`, [
      JSON.stringify([{ scope: 'tenant', resource_type: 'llm', period: 'hour', limit_usd: '30' }]),
    ])
    await giveDefaults(session.db)
    await environment('40')
    t.same([await limitOf('default-new'), await limitOf('default-set'), await limitOf('default-30')], ['30', '7', '30'])
    await session.pool.query('delete from copilot_internal.quota_defaults')
  },
)

guarantee(
  'known tenants and users get a new default in steps, and the next call finishes an interrupted one',
  async (t) => {
    const known = Array.from({ length: 250 }, (_, n) => hold(`stepped-${n}`, '1'))
    await session.reserve(...known)
    const setDefault = (limitUsd: string) =>
      setEnvironmentDefaults(session.db, [
        { scope: 'tenant', resource_type: 'llm', period: 'week', limit_usd: limitUsd },
      ])
    const limits = async () => {
      const { rows } = await database.pool.query<{ quotas: string }>(
        `select count(*) || ' of ' || trim_scale(q.limit_usd) as quotas
         from copilot_internal.cost_quotas q join copilot_internal.quota_periods p using (quota_id)
         where q.tenant_id like 'stepped-%' and p.reserved = 1 and p.limit_usd = q.limit_usd
         group by q.limit_usd order by q.limit_usd`,
      )
      return rows.map(({ quotas }) => quotas)
    }
    const isPending = async () =>
      (await database.pool.query('select pending from copilot_internal.quota_defaults')).rows.map(
        ({ pending }) => pending,
      )

    await setDefault('5')
    await t.rejects(
      giveDefaults(session.db, () => Promise.reject(new Error('the process ends'))),
      /the process ends/,
    )
    // A step takes 100 scopes, some of which other tests have made known.
    t.match([await limits(), await isPending()], [[/^(\d{1,2}|100) of 5$/], [true]])
    await giveDefaults(session.db)
    t.same([await limits(), await isPending()], [['250 of 5'], [false]])

    await session.moveTo('2026-11-10T12:00:01Z')
    await setDefault('6')
    let isFirst = true
    await giveDefaults(session.db, async () => {
      if (!isFirst) return
      isFirst = false
      await session.moveTo('2026-11-10T12:00:02Z')
      await setDefault('7')
    })
    t.match(
      [await limits(), await isPending()],
      [[/ of 6$/, / of 7$/], [true]],
      'the default changed between two steps',
    )
    await giveDefaults(session.db)
    t.same([await limits(), await isPending()], [['250 of 7'], [false]])

    const stale = { scope: 'tenant', tenant_id: 'stepped-1', period: 'week', limit_usd: '6', enforcement: 'enforce' }
    await session.pool.query('select from copilot_internal.set_quotas($1, true)', [JSON.stringify([stale])])
    t.same(await limits(), ['250 of 7'], 'a step of an old default gives it to nobody after the change')
    await session.pool.query('delete from copilot_internal.quota_defaults')
  },
)

// ---- A batch gives the same results as its items one after the other

guarantee('a key twice in one batch makes one hold; equal requests share it, another is a mismatch', async (t) => {
  await setQuota('twice', '10')
  const key = { idempotency_key: 'twice' }
  const [first, equal, other] = [hold('twice', '4', key), hold('twice', '4', key), hold('twice', '5', key)]
  const expected = [
    { outcome: { granted: '4' } },
    { outcome: { replayed: { reservation_id: first.reservation_id } } },
    { outcome: { mismatch: true } },
  ]
  t.match(await session.reserve(first, equal, other), expected)
  t.same(await balancesOf('twice'), ['day runs from 11-10 00:00 spent 0 opening 0 reserved 4'])
})

guarantee('a key twice in one batch is held once, even if the limit is reached', async (t) => {
  await setQuota('twice-bound', '10')
  const key = { idempotency_key: 'twice-bound' }
  const first = hold('twice-bound', '6', key)
  t.match(
    await session.reserve(first, hold('twice-bound', '6', key), hold('twice-bound', '4'), hold('twice-bound', '1')),
    [
      { outcome: { granted: '6' } },
      { outcome: { replayed: { reservation_id: first.reservation_id } } },
      { outcome: { granted: '4' } },
      { outcome: { refused: { largest_allowed_usd: '0' } } },
    ],
  )
  // The key again, with nothing left of the limit.
  t.match(await session.reserve(hold('twice-bound', '6', key), hold('twice-bound', '7', key)), [
    { outcome: { replayed: { reservation_id: first.reservation_id } } },
    { outcome: { mismatch: true } },
  ])
})

guarantee('one principal’s key for two tenants makes two holds and two records, each replayed alone', async (t) => {
  await setQuota('two-a', '10')
  await setQuota('two-b', '10')
  const key = { idempotency_key: 'two-tenants' }
  const [a, b] = [hold('two-a', '6', key), hold('two-b', '6', key)]
  const granted = { outcome: { granted: '6' } }
  t.match(await session.reserve(a, b), [granted, granted])
  // A retry finds no room for another 6 USD in either quota, and is replayed.
  t.match(await session.reserve(hold('two-b', '6', key), hold('two-a', '6', key)), [
    { outcome: { replayed: { reservation_id: b.reservation_id } } },
    { outcome: { replayed: { reservation_id: a.reservation_id } } },
  ])
  t.match(await session.reserve(hold('two-a', '5', key)), [{ outcome: { mismatch: true } }])
  const [spentA, spentB] = [spending('two-a', '1', key), spending('two-b', '2', key)]
  t.match(await session.record(spentA, spentB), { records: [{ replayed: false }, { replayed: false }] })
  t.match(await session.record(spending('two-b', '2', key), spending('two-a', '1', key)), {
    records: [
      { replayed: true, cost_record_id: spentB.cost_record_id, cost_usd: '2' },
      { replayed: true, cost_record_id: spentA.cost_record_id, cost_usd: '1' },
    ],
  })
  t.match(await session.record(spending('two-b', '1', key)), { faults: [{ index: 0, fault: 'mismatch' }] })
  t.same(await balancesOf('two-a'), ['day runs from 11-10 00:00 spent 1 opening 0 reserved 6'])
  t.same(await balancesOf('two-b'), ['day runs from 11-10 00:00 spent 2 opening 0 reserved 6'])
})

guarantee('of two items with one key in a batch the first is granted, whichever id it has', async (t) => {
  const key = { idempotency_key: 'order-of-ids' }
  const [low, high] = ['00000000-0000-7000-8000-000000000001', 'ffffffff-ffff-7fff-bfff-ffffffffffff']
  t.match(
    await session.reserve(
      hold('order-of-ids', '1', { ...key, reservation_id: high }),
      hold('order-of-ids', '1', { ...key, reservation_id: low }),
    ),
    [{ outcome: { granted: '1' } }, { outcome: { replayed: { reservation_id: high } } }],
  )
})

guarantee(
  'a reservation committed twice in one batch is booked once: an equal commit shares the answer, another conflicts',
  async (t) => {
    await setQuota('commits', '10')
    const id = await held('commits', '4')
    const settlements = await session.commit(booking(id, '3'), booking(id, '3'), booking(id, '2'))
    t.match(settlements, [
      { outcome: { committed: { cost_usd: '3', released_usd: '1' } } },
      { outcome: { committed: { cost_usd: '3', released_usd: '1' } } },
      { outcome: { conflict: 'committed' } },
    ])
    t.match(await session.commit(booking(id, '2'), booking(id, '3')), [
      { outcome: { conflict: 'committed' } },
      { outcome: { committed: { cost_usd: '3' } } },
    ])
    t.same(await balancesOf('commits'), ['day runs from 11-10 00:00 spent 3 opening 0 reserved 0'])
  },
)

guarantee('a commit that cannot be booked does not stop a later commit of the hold in the same batch', async (t) => {
  await setQuota('after-unfit', '10')
  const [first, second] = [await held('after-unfit', '4'), await held('after-unfit', '1')]
  const unfit = { measure: 'seconds' as const, seconds: '1', commit_hash: hashOf('unfit') }
  t.match(
    await session.commit(
      booking(first, '3', unfit),
      booking(first, '3'),
      booking(second, '0.5', { tenant_id: 'somebody-else' }),
      booking(second, '1', { tenant_id: 'after-unfit' }),
    ),
    [
      { outcome: {} },
      { outcome: { committed: { cost_usd: '3' } } },
      { outcome: { unknown: true } },
      { outcome: { committed: { cost_usd: '1' } } },
    ],
  )
  t.same(await balancesOf('after-unfit'), ['day runs from 11-10 00:00 spent 4 opening 0 reserved 0'])
})

guarantee('a hold released twice in one batch is released once, and only by its own tenant', async (t) => {
  await setQuota('releases', '10')
  const id = await held('releases', '4')
  await held('releases', '1')
  const release = (tenantId: string | null, reason: string) => ({ reservation_id: id, tenant_id: tenantId, reason })
  t.match(
    await releaseSpend(session.db, [release('other', 'not mine'), release(null, 'done'), release('releases', 'done')]),
    [
      { unknown: true },
      ...Array(2).fill({ settled: { status: 'released', released_usd: '4', release_reason: 'done' } }),
    ],
  )
  t.match(await session.release(id), [{ settled: { status: 'released', released_usd: '4' } }])
  t.same(await balancesOf('releases'), ['day runs from 11-10 00:00 spent 0 opening 0 reserved 1'])
})

// ---- Properties

const usd = (digits: fc.Arbitrary<number>) =>
  fc.tuple(digits, fc.constantFrom(0, 2, 6, 12)).map(([n, scale]) => new Big(n).div(new Big(10).pow(scale)))
const sometimes = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { freq: 2, nil: null })

guarantee('a capped grant is floor((room − fixed) ÷ unit) units, and never exceeds the room', async (t) => {
  let tenants = 0
  const property = fc.asyncProperty(
    fc.record({
      room: usd(fc.nat(2_000_000)),
      fixed: usd(fc.nat(20_000)),
      // Above and below 1e-12 USD.
      unit: fc
        .tuple(fc.integer({ min: 1, max: 30_000 }), fc.constantFrom(2, 6, 12, 14))
        .map(([n, scale]) => new Big(n).div(new Big(10).pow(scale))),
      // Null, or a room of a whole number of units, or 1e-12 more or less.
      edge: sometimes(fc.tuple(fc.nat(100_000), fc.constantFrom(-1, 0, 1))),
      asked: fc.integer({ min: 1, max: 1_000_000 }),
    }),
    async ({ room: anyRoom, fixed, unit, edge, asked }) => {
      const tenant = `caps-${(tenants += 1)}`
      const tiny = new Big('1e-12')
      const edged = edge === null ? anyRoom : fixed.plus(unit.times(edge[0])).round(12, 1).plus(tiny.times(edge[1]))
      const room = edged.lt(0) ? new Big(0) : edged
      const most = room.lt(fixed) ? 0 : Number(room.minus(fixed).div(unit).round(0, 0).toFixed())
      const amount = fixed.plus(unit.times(Math.max(asked, most + 1))).round(12, 1)
      // Units are tokens or seconds; a request has far fewer.
      if (amount.lte(room) || most > 1_000_000_000) return
      await setQuota(tenant, room.toFixed())
      const [decision] = await session.reserve(
        hold(tenant, amount.toFixed(), {
          fixed_usd: fixed.toFixed(),
          per_unit_usd: unit.toFixed(),
          caps_name: 'max_output_tokens',
        }),
      )
      const { outcome } = decision!
      // Rounding half up may lift the cost above the room; then one unit less fits.
      const costOf = (units: number) => fixed.plus(unit.times(units)).round(12, 1)
      const units = exactFloor(room.minus(fixed), unit)
      const fits = costOf(units).gt(room) ? units - 1 : units
      if (room.lt(fixed) || fits < 1) {
        if (!('refused' in outcome))
          throw new Error(`granted ${JSON.stringify(outcome)} in a room of ${room.toFixed()}`)
        return
      }
      if (!('granted' in outcome) || outcome.units !== fits || !new Big(outcome.granted).eq(costOf(fits))) {
        throw new Error(
          `${JSON.stringify(outcome)} is not ${fits} units of ${unit.toFixed()}, ${costOf(fits).toFixed()} USD`,
        )
      }
    },
  )
  await t.resolves(fc.assert(property, { seed, numRuns: 150 }))
})
