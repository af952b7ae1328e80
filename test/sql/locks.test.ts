import type pg from 'pg'
import t from 'tap'
import { expireReservations } from '../../src/db/reservations/expire-reservations.ts'
import { faultCode } from '../../src/db/pool/faults.ts'
import { setQuotas, sumAhead, type QuotaInput } from '../../src/db/quotas/quotas.ts'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { sizeFrom } from '../helpers/seed.ts'
import { booking, hold, openSession, spending, type Session } from '../helpers/money/spend.ts'

const database = await createDatabase(t)
const { pool } = database

const LOCK_NOT_AVAILABLE = '55P03'

async function pidOf(session: Session): Promise<number> {
  const { rows } = await session.pool.query<{ pid: number }>('select pg_backend_pid() as pid')
  return rows[0]!.pid
}

/** Far longer than any wait for a lock, even on a busy machine. */
const WAIT_MS_MAX = 30_000

/** Waits until the condition is true in Postgres. @throws after WAIT_MS_MAX. */
async function until(condition: string, values: unknown[]): Promise<void> {
  const begun = performance.now()
  while (performance.now() - begun < WAIT_MS_MAX) {
    const { rows } = await pool.query<{ holds: boolean }>(`select (${condition}) as holds`, values)
    if (rows[0]!.holds) return
  }
  throw new Error(`this never became true in Postgres: ${condition}`)
}

/** Waits until a session is blocked by a lock of the other one. */
const untilBlocked = (waiter: number, blocker: number) => until('$2 = any (pg_blocking_pids($1))', [waiter, blocker])

/** The SQLSTATE with which a call fails; '' if it succeeds. */
const codeOf = (call: Promise<unknown>) => call.then(() => '', faultCode)

async function deadlocks(): Promise<number> {
  const { rows } = await pool.query<{ deadlocks: string }>(
    'select deadlocks from pg_stat_database where datname = current_database()',
  )
  return Number(rows[0]!.deadlocks)
}

t.test('sessions that use the same quotas in opposite orders never deadlock', async (t) => {
  const tenants = ['t-1', 't-2', 't-3', 't-4', 't-5', 't-6', 't-7', 't-8']
  const setup = openSession(t, database.url)
  const quotasOf = (limitUsd: string) => [
    { scope: 'platform', period: 'day', limit_usd: limitUsd },
    ...tenants.flatMap((tenant_id) => [
      { scope: 'tenant', tenant_id, period: 'day', limit_usd: limitUsd },
      { scope: 'user', tenant_id, user_id: 'u', period: 'month', limit_usd: limitUsd },
    ]),
    { scope: 'tenant', tenant_id: 't-4', period: 'hour', limit_usd: limitUsd },
  ]
  await setQuotas(setup.db, quotasOf('1000'))
  const codes = new Map<string, number>()
  let calls = 0
  const attempt = async <Answer>(call: Promise<Answer>): Promise<Answer | undefined> => {
    calls += 1
    try {
      return await call
    } catch (error) {
      const code = faultCode(error)
      codes.set(code, (codes.get(code) ?? 0) + 1)
      return undefined
    }
  }
  const rounds = 130
  const pids: number[] = []
  /** The holds of all sessions: each session also settles those of the others. */
  const shared: string[] = []
  const storm = async (session: Session, ordered: <Value>(values: Value[]) => Value[]) => {
    pids.push(await pidOf(session))
    for (let round = 0; round < rounds; round++) {
      const items = ordered(tenants).map((tenant) =>
        hold(tenant, '0.1', {
          user_id: 'u',
          ttl_seconds: round % 7 === 0 ? 0 : 600,
          on_expiry: round % 2 === 0 ? 'charge' : 'release',
        }),
      )
      await attempt(session.reserve(...items))
      shared.push(...items.map((item) => item.reservation_id))
      const ids = ordered(shared.slice(-24))
      const some = ids.filter((_, n) => n % 3 === round % 3)
      await attempt(session.commit(...some.map((id) => booking(id, '0.05'))))
      await attempt(session.release(...ids.filter((_, n) => n % 5 === round % 5)))
      // The same keys in both directions, in the current hour and in hours without balances.
      const hoursAgo = new Date(Date.now() - (round % 9) * 3_600_000).toISOString()
      const recorded = await attempt(
        session.record(
          ...ordered(tenants).map((tenant) =>
            spending(tenant, '0.01', {
              user_id: 'u',
              idempotency_key: `${tenant}-${round}`,
              occurred_at: hoursAgo,
              request_hash: '\\x00',
            }),
          ),
        ),
      )
      if (recorded !== undefined && 'records' in recorded) {
        for (const { cost_record_id: id } of ordered(recorded.records.slice(0, 3)))
          await attempt(session.correct(id, '0.02'))
      }
      if (round % 4 === 0) await attempt(expireReservations(session.db, 50))
      if (round % 8 === 0) await attempt(setQuotas(session.db, ordered(quotasOf(String(10 + (round % 3) * 500)))))
    }
    await session.db.destroy()
  }
  const before = await deadlocks()
  // These sessions end before the test, so that the server has counted their deadlocks.
  const sessions = [1, 2, 3, 4].map(() => openSession({ teardown: () => {} }, database.url))
  await Promise.all(
    sessions.map((session, n) => storm(session, (values) => (n % 2 === 0 ? [...values] : values.toReversed()))),
  )
  await until('not exists (select from pg_stat_activity where pid = any ($1))', [pids])
  t.ok(calls > 1_500, `${calls} calls`)
  t.same([...codes.keys()], [], 'no call failed')
  t.equal(await deadlocks(), before)
  await expireReservations(setup.db, 500)
  await assertHealthy(t, pool)
})

/** What both sessions of a pair use: tenants, and a hold and a cost record of each. */
type Met = { tenants: string[]; holds: string[]; lines: string[] }

const reversed = ({ tenants, holds, lines }: Met): Met => ({
  tenants: tenants.toReversed(),
  holds: holds.toReversed(),
  lines: lines.toReversed(),
})

const CAST = ['p-1', 'p-2', 'p-3']

/** A limit that is never reached, so that each call runs to its end. */
const wide = { period: 'day', limit_usd: '1000000' }
const wideQuota = (tenant_id: string) => ({ scope: 'tenant', tenant_id, ...wide })

async function oneByOne<Item>(items: Item[], call: (item: Item) => Promise<unknown>): Promise<void> {
  for (const item of items) await call(item)
}

/** The functions that take locks (0) to (3), each called with everything in `met`, in the given order. */
const DECIDING: Record<string, (session: Session, met: Met) => Promise<unknown>> = {
  reserve: (session, { tenants, lines }) =>
    session.reserve(
      ...tenants.map((tenant, n) => hold(tenant, '0.01', { ttl_seconds: 0, idempotency_key: `again ${lines[n]}` })),
    ),
  commit: (session, { holds }) => session.commit(...holds.map((id) => booking(id, '0.02'))),
  release: (session, { holds }) => session.release(...holds),
  extend: (session, { holds }) =>
    session.extend(
      ...holds.map((id, n) => ({
        reservation_id: id,
        tenant_id: null,
        // Some extensions ask only for more time.
        total: n % 2 === 0 ? null : { estimate: { max_output_tokens: 2 }, amount_usd: '0.03' },
        ttl_seconds: 700,
      })),
    ),
  expire: (session) => expireReservations(session.db, 4),
  record: (session, { tenants, lines }) =>
    session.record(...tenants.map((tenant, n) => spending(tenant, '0.01', { idempotency_key: `again ${lines[n]}` }))),
  correct: (session, { lines }) => oneByOne(lines, (id) => session.correct(id, '0.02')),
  'change quotas': (session, { tenants }) => setQuotas(session.db, tenants.map(wideQuota)),
}
const PAIRS = Object.keys(DECIDING).flatMap((one, n, names) => names.slice(n).map((other) => [one, other] as const))

t.test('two sessions that call any pair of deciding functions in opposite orders never deadlock', async (t) => {
  const callsMin = sizeFrom('PURSER_TEST_LOCK_CALLS', 4_000)
  const sessions = [1, 2, 3].map(() => openSession({ teardown: () => {} }, database.url))
  const [one, other, filler] = sessions as [Session, Session, Session]
  const before = await deadlocks()
  await setQuotas(filler.db, [{ scope: 'platform', ...wide }, ...CAST.map(wideQuota)])
  let calls = 0
  // The pairs take turns, so that each runs on tables of every size.
  for (let round = 0; calls < callsMin; round++) {
    const [first, second] = PAIRS[round % PAIRS.length]!
    // One hold is open and two have lapsed; the lapse of one of them is charged.
    const items = CAST.map((tenant, n) =>
      hold(tenant, '0.01', {
        ttl_seconds: n === 0 ? 86_400 : 0,
        on_expiry: n === 1 ? 'charge' : 'release',
        estimate: { max_output_tokens: 1 },
      }),
    )
    const records = CAST.map((tenant) => spending(tenant, '0.01'))
    const decisions = await filler.reserve(...items)
    if (decisions.some(({ outcome }) => !('granted' in outcome))) throw new Error(JSON.stringify(decisions[0]))
    await filler.record(...records)
    const met = {
      tenants: CAST,
      holds: items.map(({ reservation_id: id }) => id),
      lines: records.map(({ cost_record_id: id }) => id),
    }
    await Promise.all([DECIDING[first]!(one, met), DECIDING[second]!(other, reversed(met))]).catch((error: unknown) => {
      throw new Error(`${first} beside ${second}: ${faultCode(error)}`, { cause: error })
    })
    calls += 2
  }
  const pids = await Promise.all(sessions.map(pidOf))
  await Promise.all(sessions.map(({ db }) => db.destroy()))
  await until('not exists (select from pg_stat_activity where pid = any ($1))', [pids])
  t.equal(await deadlocks(), before, `${calls} calls in ${PAIRS.length} pairs`)
  const last = openSession(t, database.url)
  while ((await expireReservations(last.db, 500)) > 0);
  await assertHealthy(t, pool)
})

t.test('two sessions with the same new tenants in opposite orders make each default quota once', async (t) => {
  const [one, other] = [openSession(t, database.url), openSession(t, database.url)]
  await one.pool.query(`select copilot_internal.set_quota_defaults($1, true)`, [
    JSON.stringify([
      { scope: 'tenant', resource_type: 'llm', period: 'day', limit_usd: '5' },
      { scope: 'user', resource_type: 'llm', period: 'hour', limit_usd: '5' },
    ]),
  ])
  for (let round = 0; round < 10; round++) {
    const items = () => Array.from({ length: 20 }, (_, n) => hold(`seen-${round}-${n}`, '3', { user_id: 'u' }))
    const decisions = await Promise.all([one.reserve(...items()), other.reserve(...items().toReversed())])
    const granted = decisions.flat().filter(({ outcome }) => 'granted' in outcome)
    t.equal(granted.length, 20, 'each tenant gets one of two holds')
  }
  const { rows } = await pool.query(
    `select count(*)::integer as quotas from copilot_internal.cost_quotas where tenant_id like 'seen-%'`,
  )
  t.same(rows, [{ quotas: 400 }])
  await one.pool.query('delete from copilot_internal.quota_defaults')
  await assertHealthy(t, pool)
})

type Written = Record<'reservations' | 'records' | 'balances', string>

async function written(client: pg.Pool): Promise<Written> {
  const { rows } = await client.query<Written>(`
    select (select count(*) || md5(string_agg(r::text, '' order by r.reservation_id)) from copilot_internal.reservations r) as reservations,
           (select array_agg(n)::text from (
              select count(*) from copilot_internal.llm_cost_records
              union all select count(*) from copilot_internal.record_keys
              union all select count(*) from copilot_internal.record_corrections) c(n)) as records,
           (select md5(string_agg(p::text, '' order by p.quota_period_id)) from copilot_internal.quota_periods p) as balances`)
  return rows[0]!
}

t.test('a call that waits too long for a locked balance fails and writes nothing', async (t) => {
  const [holder, waiter] = [openSession(t, database.url), openSession(t, database.url)]
  await setQuotas(holder.db, [{ scope: 'tenant', tenant_id: 'kept', period: 'day', limit_usd: '10' }])
  const items = [hold('kept', '1'), hold('kept', '1')]
  await holder.reserve(...items)
  const [first, second] = items.map(({ reservation_id: id }) => id) as [string, string]
  const line = spending('kept', '1')
  await holder.record(line)
  const before = await written(pool)
  await holder.pool.query('begin')
  await holder.pool.query(`select from copilot_internal.quota_periods where tenant_id = 'kept' for update`)
  const [holderPid, waiterPid] = [await pidOf(holder), await pidOf(waiter)]
  const calls = {
    reserve: () => waiter.reserve(hold('t-1', '0.01'), hold('kept', '1')),
    commit: () => waiter.commit(booking(first, '1')),
    release: () => waiter.release(second),
    record: () => waiter.record(spending('t-1', '0.01'), spending('kept', '1')),
    correct: () => waiter.correct(line.cost_record_id, '2'),
  }
  for (const [name, call] of Object.entries(calls)) {
    const code = codeOf(call())
    await untilBlocked(waiterPid, holderPid)
    t.equal(await code, LOCK_NOT_AVAILABLE, name)
  }
  const lapsed = codeOf(waiter.moveTo('2999-01-01T00:00:00Z').then(() => expireReservations(waiter.db, 100_000)))
  await untilBlocked(waiterPid, holderPid)
  t.equal(await lapsed, LOCK_NOT_AVAILABLE, 'expire')
  await waiter.moveTo(null)
  t.same(await written(pool), before)
  await holder.pool.query('rollback')
  t.match(await waiter.commit(booking(first, '1')), [{ outcome: { committed: { status: 'committed' } } }])
  t.match(await waiter.release(second), [{ settled: { status: 'released' } }])
  await assertHealthy(t, pool)
})

t.test('a long change of quotas makes decisions time out, and a long decision makes changes time out', async (t) => {
  const [holder, waiter] = [openSession(t, database.url), openSession(t, database.url)]
  const [item, next] = [hold('admin-away', '1'), hold('admin-away', '1')]
  await holder.reserve(item)
  const id = item.reservation_id
  const [holderPid, waiterPid] = [await pidOf(holder), await pidOf(waiter)]
  const change = (session: Session) =>
    setQuotas(session.db, [{ scope: 'tenant', tenant_id: 'admin-away', period: 'day', limit_usd: '5' }])
  const before = await written(pool)
  await holder.pool.query('begin')
  await change(holder)
  const calls = {
    reserve: () => waiter.reserve(next),
    commit: () => waiter.commit(booking(id, '1')),
    release: () => waiter.release(id),
    expire: () => expireReservations(waiter.db, 500),
    'change quotas': () => change(waiter),
  }
  for (const [name, call] of Object.entries(calls)) {
    const code = codeOf(call())
    await untilBlocked(waiterPid, holderPid)
    t.equal(await code, LOCK_NOT_AVAILABLE, name)
  }
  await holder.pool.query('rollback')
  t.same(await written(pool), before)

  await holder.pool.query('begin')
  await holder.reserve(next)
  const code = codeOf(change(waiter))
  await untilBlocked(waiterPid, holderPid)
  t.equal(await code, LOCK_NOT_AVAILABLE, 'a change during a decision')
  await holder.pool.query('rollback')
  t.match(await waiter.commit(booking(id, '1')), [{ outcome: { committed: { status: 'committed' } } }])
  await assertHealthy(t, pool)
})

t.test('commits and releases lock reservations in id order, whatever the order of the items', async (t) => {
  const [holder, waiter] = [openSession(t, database.url), openSession(t, database.url)]
  const [holderPid, waiterPid] = [await pidOf(holder), await pidOf(waiter)]
  const calls = {
    commit: (ids: string[]) => waiter.commit(...ids.map((id) => booking(id, '1'))),
    release: (ids: string[]) => waiter.release(...ids),
  }
  for (const [name, call] of Object.entries(calls)) {
    const items = [hold('in-order', '1'), hold('in-order', '1')]
    await holder.reserve(...items)
    const [low, high] = items.map(({ reservation_id: id }) => id).toSorted() as [string, string]
    await holder.pool.query('begin')
    await holder.pool.query('select from copilot_internal.reservations where reservation_id = $1 for update', [low])
    const answer = call([high, low])
    await untilBlocked(waiterPid, holderPid)
    // While the call waits for the first reservation, it has not locked the second.
    await t.resolves(
      pool.query('select from copilot_internal.reservations where reservation_id = $1 for update nowait', [high]),
      name,
    )
    await holder.pool.query('rollback')
    await answer
  }
  await assertHealthy(t, pool)
})

t.test('a repeat waits while another session decides the same key, and is then replayed', async (t) => {
  const [first, second] = [openSession(t, database.url), openSession(t, database.url)]
  const key = { idempotency_key: 'in-flight' }
  const [item, repeat] = [hold('in-flight', '1', key), hold('in-flight', '1', key)]
  const [firstPid, secondPid] = [await pidOf(first), await pidOf(second)]
  await first.pool.query('begin')
  t.match(await first.reserve(item), [{ outcome: { granted: '1' } }])
  const answer = second.reserve(repeat)
  await untilBlocked(secondPid, firstPid)
  await first.pool.query('commit')
  t.match(await answer, [{ outcome: { replayed: { reservation_id: item.reservation_id } } }])
})

t.test('two batches with the same keys in opposite orders lock them in the same order', async (t) => {
  const [holder, first, second] = [
    openSession(t, database.url),
    openSession(t, database.url),
    openSession(t, database.url),
  ]
  const [holderPid, firstPid, secondPid] = [await pidOf(holder), await pidOf(first), await pidOf(second)]
  const ofTenant = (name: string) => hold(`crossed-${name}`, '1', { idempotency_key: 'crossed' })
  const ofKey = (name: string) => hold('crossed', '1', { idempotency_key: `crossed-${name}` })
  // The tenants are made known first, because the first request of a new tenant would wait.
  await holder.reserve(hold('crossed', '1'), ...['a', 'b', 'c'].map((name) => hold(`crossed-${name}`, '1')))
  for (const keyed of [ofKey, ofTenant]) {
    await holder.pool.query('begin')
    await holder.reserve(keyed('b'))
    // The first batch has a, and waits for b; c is free. A batch that took c and then waited for a could deadlock with it.
    const one = first.reserve(keyed('a'), keyed('b'), keyed('c'))
    await untilBlocked(firstPid, holderPid)
    const other = second.reserve(keyed('c'), keyed('a'))
    await untilBlocked(secondPid, firstPid)
    await holder.pool.query('rollback')
    t.match(await one, [{ outcome: { granted: '1' } }, { outcome: { granted: '1' } }, { outcome: { granted: '1' } }])
    t.match(await other, [{ outcome: { replayed: {} } }, { outcome: { replayed: {} } }])
  }
  await assertHealthy(t, pool)
})

t.test('a repeated record waits while another session books its key, and is then replayed or booked', async (t) => {
  const [first, second] = [openSession(t, database.url), openSession(t, database.url)]
  const key = { idempotency_key: 'record-in-flight' }
  const [item, repeat] = [spending('in-flight', '1', key), spending('in-flight', '1', key)]
  const [firstPid, secondPid] = [await pidOf(first), await pidOf(second)]
  for (const [end, cost_record_id, replayed] of [
    ['rollback', repeat.cost_record_id, false],
    ['commit', item.cost_record_id, true],
  ] as const) {
    await first.pool.query('begin')
    t.match(await first.record(item), { records: [{ replayed: false }] })
    const answer = second.record(repeat)
    await untilBlocked(secondPid, firstPid)
    await first.pool.query(end)
    t.match(await answer, { records: [{ cost_record_id, replayed }] }, end)
    // Another key for the next round.
    if (end === 'rollback') item.idempotency_key = repeat.idempotency_key = 'record-in-flight-2'
  }
  await assertHealthy(t, pool)
})

t.test('a reservation that two sessions commit at once is booked once', async (t) => {
  const [first, second] = [openSession(t, database.url), openSession(t, database.url)]
  const item = hold('settled-once', '1')
  await first.reserve(item)
  const [firstPid, secondPid] = [await pidOf(first), await pidOf(second)]
  await first.pool.query('begin')
  await first.commit(booking(item.reservation_id, '0.5'))
  const answer = second.commit(booking(item.reservation_id, '0.25'), booking(item.reservation_id, '0.5'))
  await untilBlocked(secondPid, firstPid)
  await first.pool.query('commit')
  t.match(await answer, [{ outcome: { conflict: 'committed' } }, { outcome: { committed: { cost_usd: '0.5' } } }])
  await assertHealthy(t, pool)
})

t.test('a hold made while a commit or a release is running is unknown to that call, and stays open', async (t) => {
  const [holder, settler, other] = [
    openSession(t, database.url),
    openSession(t, database.url),
    openSession(t, database.url),
  ]
  const [holderPid, settlerPid] = [await pidOf(holder), await pidOf(settler)]
  const calls = {
    commit: (ids: string[]) => settler.commit(...ids.map((id) => booking(id, '1'))),
    release: (ids: string[]) => settler.release(...ids),
  }
  for (const [verb, call] of Object.entries(calls)) {
    const [known, later] = [hold('later', '1'), hold('later', '1')]
    const ids = [known, later].map(({ reservation_id: id }) => id)
    await holder.reserve(known)
    await holder.pool.query('begin')
    await holder.pool.query('select from copilot_internal.reservations where reservation_id = $1 for update', [ids[0]])
    const answer = call(ids)
    await untilBlocked(settlerPid, holderPid)
    await other.reserve(later)
    await holder.pool.query('rollback')
    const [, second] = await answer
    t.match(second, verb === 'commit' ? { outcome: { unknown: true } } : { unknown: true }, verb)
    const { rows } = await pool.query(
      'select status from copilot_internal.reservations where reservation_id = any ($1) order by reservation_id',
      [ids],
    )
    t.same(rows, [{ status: verb === 'commit' ? 'committed' : 'released' }, { status: 'reserved' }])
  }
  await assertHealthy(t, pool)
})

t.test('a change of a limit waits for running decisions, and applies to the next one', async (t) => {
  const [deciding, admin] = [openSession(t, database.url), openSession(t, database.url)]
  const limit = (limitUsd: string) =>
    setQuotas(admin.db, [{ scope: 'tenant', tenant_id: 'changed', period: 'day', limit_usd: limitUsd }])
  await limit('10')
  const [decidingPid, adminPid] = [await pidOf(deciding), await pidOf(admin)]

  await deciding.pool.query('begin')
  t.match(await deciding.reserve(hold('changed', '6')), [{ outcome: { granted: '6' } }])
  const change = limit('7')
  await untilBlocked(adminPid, decidingPid)
  await deciding.pool.query('commit')
  await change
  t.match(await deciding.reserve(hold('changed', '1.01'), hold('changed', '1')), [
    { outcome: { refused: { largest_allowed_usd: '1' } } },
    { outcome: { granted: '1' } },
  ])

  await admin.pool.query('begin')
  await limit('9')
  const decision = deciding.reserve(hold('changed', '3'), hold('changed', '2'))
  await untilBlocked(decidingPid, adminPid)
  await admin.pool.query('commit')
  t.match(await decision, [{ outcome: { refused: { largest_allowed_usd: '2' } } }, { outcome: { granted: '2' } }])
  await assertHealthy(t, pool)
})

t.test('a new quota adopts a hold that was being made when the quota was requested', async (t) => {
  const [deciding, admin] = [openSession(t, database.url), openSession(t, database.url)]
  const [decidingPid, adminPid] = [await pidOf(deciding), await pidOf(admin)]
  const item = hold('adopted', '6')
  await deciding.pool.query('begin')
  t.match(await deciding.reserve(item), [{ outcome: { granted: '6' } }])
  const made = setQuotas(admin.db, [{ scope: 'tenant', tenant_id: 'adopted', period: 'day', limit_usd: '7' }])
  await untilBlocked(adminPid, decidingPid)
  await deciding.pool.query('commit')
  await made
  t.match(await deciding.reserve(hold('adopted', '2')), [{ outcome: { refused: { largest_allowed_usd: '1' } } }])
  await assertHealthy(t, pool)
})

t.test('a new quota counts costs that are booked during its summing once', async (t) => {
  const [booker, admin] = [openSession(t, database.url), openSession(t, database.url)]
  const [bookerPid, adminPid] = [await pidOf(booker), await pidOf(admin)]
  const llm: QuotaInput = { scope: 'tenant', tenant_id: 'summed', period: 'month', limit_usd: '1000' }
  const inputs: QuotaInput[] = [
    ...['hour', 'day', 'week', 'month', 'total'].map((period) => ({ ...llm, period })),
    { ...llm, scope: 'user', user_id: 'u' },
    { ...llm, resource_type: 'e2b' },
  ]
  const book = (costUsd: string) =>
    booker.record(
      spending('summed', costUsd),
      spending('summed', costUsd, { user_id: 'u' }),
      spending('summed', costUsd, { resource_type: 'e2b' }),
    )
  const second = (n: number) => `2026-11-10T12:00:0${n}Z`
  await booker.moveTo(second(1))
  await book('1')
  await booker.pool.query('begin')
  await book('2')
  // Exactly at the cutoff of the sum: one record before summing, one after it.
  await booker.moveTo(second(2))
  await book('4')
  await admin.moveTo(second(2))
  const summing = sumAhead(admin.db, inputs)
  await untilBlocked(adminPid, bookerPid)
  await booker.pool.query('commit')
  const ahead = await summing
  await book('8')
  await booker.moveTo(second(3))
  await booker.pool.query('begin')
  await book('16')
  const made = setQuotas(admin.db, ahead)
  await untilBlocked(adminPid, bookerPid)
  await booker.pool.query('commit')
  await made
  const { rows } = await pool.query<{ spent: number[]; opening: number[] }>(
    `select array_agg(spent::integer order by quota_period_id) as spent,
       array_agg(opening_usd::integer order by quota_period_id) as opening
     from copilot_internal.quota_periods where tenant_id = 'summed'`,
  )
  // In every period 2 × 31 USD for the tenant, and 31 USD for the user and for sandboxes.
  const all = [62, 62, 62, 62, 62, 31, 31]
  t.same(rows, [{ spent: all, opening: all }])
  t.match(
    await sumAhead(
      admin.db,
      inputs.map((input) => ({ ...input, limit_usd: '2000' })),
    ),
    inputs.map(() => ({ booked: undefined })),
    'nothing is summed for a quota that opens no balance',
  )
  await book('32')
  await assertHealthy(t, pool)
})

t.test('a sweep creates the partitions of a month before it locks a balance, as a commit does', async (t) => {
  const own = await createDatabase(t)
  const [booker, sweeper] = [openSession(t, own.url), openSession(t, own.url)]
  const [booked, lapsing] = [hold('parted', '1', { ttl_seconds: 86_400 }), hold('parted', '1', { on_expiry: 'charge' })]
  await setQuotas(booker.db, [{ scope: 'tenant', tenant_id: 'parted', period: 'total', limit_usd: '10' }])
  await Promise.all([booker, sweeper].map((session) => session.moveTo('2031-05-31T23:55:00Z')))
  await booker.reserve(booked, lapsing)
  await Promise.all([booker, sweeper].map((session) => session.moveTo('2031-06-01T00:10:00Z')))
  const [bookerPid, sweeperPid] = [await pidOf(booker), await pidOf(sweeper)]
  await booker.pool.query('begin')
  await booker.pool.query('select copilot_internal.ensure_cost_partitions(copilot_internal.clock_now())')
  const swept = expireReservations(sweeper.db, 500)
  await untilBlocked(sweeperPid, bookerPid)
  t.match(await booker.commit(booking(booked.reservation_id, '1')), [
    { outcome: { committed: { status: 'committed' } } },
  ])
  await booker.pool.query('commit')
  t.equal(await swept, 1)
  await assertHealthy(t, own.pool)
})

t.test('a decision reports whether others are running, does not wait for them, and leaves no lock', async (t) => {
  const [first, second] = [openSession(t, database.url), openSession(t, database.url)]
  const isContended = async ({ pool }: Session) =>
    (await pool.query<{ contended: boolean }>('select copilot_internal.is_contended(8102116101115) as contended'))
      .rows[0]!.contended
  t.equal(await isContended(first), false)
  await second.pool.query('begin')
  t.equal(await isContended(second), false)
  t.equal(await isContended(first), true)
  await first.pool.query('begin')
  t.equal(await isContended(first), true)
  t.equal(await isContended(second), true, 'both decide at this moment')
  await second.pool.query('rollback')
  t.equal(await isContended(first), false)
  await first.pool.query('rollback')

  // Holds of 0 USD, which lock no balance.
  const alone = await first.reserve(hold('t-1', '0'), hold('t-2', '0'))
  await second.pool.query('begin')
  const decisions = [...(await second.reserve(hold('t-1', '0'))), ...(await first.reserve(hold('t-2', '0')))]
  t.same(
    [...alone, ...decisions].map(({ contended }) => contended),
    [false, false, false, true],
  )
  await second.pool.query('commit')
  const { rows } = await pool.query(
    `select from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
  )
  t.same(rows, [])
})
