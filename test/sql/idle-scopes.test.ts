import { join } from 'node:path'
import t, { type Test } from 'tap'
import { listIdleScopes, retireScopes, type ScopeKey } from '../../src/db/archives/archives.ts'
import { expireReservations } from '../../src/db/reservations/expire-reservations.ts'
import { setEnvironmentDefaults } from '../../src/db/quotas/quota-defaults.ts'
import { deleteQuota, setQuotas } from '../../src/db/quotas/quotas.ts'
import type { ReserveItem } from '../../src/db/reservations/reserve-spend.ts'
import { keepRetention, planRetention, type Retention } from '../../src/services/archives/retention.ts'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { booking, hold, openSession, spending } from '../helpers/money/spend.ts'

const DAYS = 90
const USED = '2027-03-01T12:00:00Z'
const LATER = '2027-09-01T12:00:00Z'
const FIRST: ScopeKey = { resource_type: 'llm', tenant_id: '', user_id: '' }

/** A separate database, in which defaults give each tenant one quota and each user two. */
async function open(t: Test) {
  const database = await createDatabase(t)
  const session = openSession(t, database.url)
  await session.moveTo(USED)
  await setEnvironmentDefaults(session.db, [
    { scope: 'tenant', resource_type: 'llm', period: 'day', limit_usd: '50' },
    { scope: 'user', resource_type: 'llm', period: 'total', limit_usd: '5' },
    { scope: 'user', resource_type: 'llm', period: 'hour', limit_usd: '2' },
  ])
  const retention: Retention = {
    db: session.db,
    archiveDir: join(t.testdir(), 'archive'),
    retentionDays: DAYS,
    archiveYears: 7,
    // Settled reservations stay, unless a test deletes them.
    reservationDays: 3_650,
    eventDays: DAYS,
  }
  const held = async (tenantId: string, amountUsd: string, changes: Partial<ReserveItem> = {}): Promise<string> => {
    const item = hold(tenantId, amountUsd, changes)
    const [decision] = await session.reserve(item)
    if (!('granted' in decision!.outcome)) throw new Error(JSON.stringify(decision!.outcome))
    return item.reservation_id
  }
  return {
    database,
    session,
    retention,
    held,
    /** Makes the rows of a tenant or user and nothing else: its hold is released, then deleted like an old one. */
    seen: async (tenantId: string, userId: string | null = null): Promise<void> => {
      const id = await held(tenantId, '1', { user_id: userId })
      await session.release(id)
      await database.pool.query('delete from copilot_internal.reservations where reservation_id = $1', [id])
    },
    /** The scopes, and the number of quotas and balances. */
    known: async (): Promise<{ scopes: string[]; quotas: number; balances: number }> => {
      const { rows } = await database.pool.query<{ scopes: string[]; quotas: number; balances: number }>(
        `select array(select trim(tenant_id || ' ' || user_id) from copilot_internal.scopes where tenant_id <> '' order by 1) as scopes,
                (select count(*)::integer from copilot_internal.cost_quotas) as quotas,
                (select count(*)::integer from copilot_internal.quota_periods) as balances`,
      )
      return rows[0]!
    },
    retire: async (changes: Partial<Retention> = {}): Promise<number> =>
      (await keepRetention({ ...retention, ...changes }, new AbortController().signal)).retired_scopes,
  }
}

t.test('an idle scope with only default quotas retires after the retention, and restarts at 0', async (t) => {
  const { database, session, retention, held, seen, known, retire } = await open(t)
  await seen('idle-a', 'u')
  await seen('idle-b')
  await session.moveTo('2027-03-02T00:30:00Z')
  await seen('idle-b')
  t.same(await known(), { scopes: ['idle-a', 'idle-a u', 'idle-b'], quotas: 4, balances: 5 })
  await session.moveTo('2027-05-30T12:00:00Z')
  t.equal(await retire(), 0, 'nothing retires before the retention ends')
  await session.moveTo(LATER)
  await held('idle-other', '1')
  t.match(await planRetention(retention), { retired_scopes: 3 })
  t.equal(await retire(), 3)
  t.same(await known(), { scopes: ['idle-other'], quotas: 1, balances: 1 })
  const [again] = await session.reserve(hold('idle-a', '2', { user_id: 'u' }))
  t.match(again, { outcome: { granted: '2' }, quotas: { length: 3 } })
  t.match(again!.quotas, [
    { scope: 'tenant', limitUsd: '50', spentUsd: '0', reservedUsd: '2' },
    { scope: 'user', limitUsd: '2', spentUsd: '0', reservedUsd: '2' },
    { scope: 'user', limitUsd: '5', spentUsd: '0', reservedUsd: '2' },
  ])
  await assertHealthy(t, database.pool)
})

t.test('an idle scope without any quota retires too, and a scope in use stays', async (t) => {
  const { database, session, seen, known, retire } = await open(t)
  await seen('bare')
  await database.pool.query(`delete from copilot_internal.quota_periods where tenant_id = 'bare'`)
  await database.pool.query(`delete from copilot_internal.cost_quotas where tenant_id = 'bare'`)
  await database.pool.query(
    `update copilot_internal.scopes set quota_period_ids = '{}', valid_from = '-infinity', valid_until = 'infinity'
     where tenant_id = 'bare'`,
  )
  const { rows } = await database.pool.query(`select look_up_at from copilot_internal.scopes where tenant_id = 'bare'`)
  t.same(rows, [{ look_up_at: new Date('2027-03-02T12:00:00Z') }])
  t.match(await session.reserve(hold('bare', '1', { idempotency_key: 'bare' })), [{ quotas: { length: 0 } }])
  await database.pool.query(`delete from copilot_internal.reservations where tenant_id = 'bare'`)
  await setQuotas(session.db, [{ scope: 'tenant', tenant_id: 'total', period: 'total', limit_usd: '5' }])
  await session.moveTo(LATER)
  await seen('bare-and-used')
  t.equal(await retire(), 1)
  t.same((await known()).scopes, ['bare-and-used'])
  await assertHealthy(t, database.pool)
})

t.test('late commits and corrections find their balances, even if only 0 USD was spent in them', async (t) => {
  const { database, session, held, known, retire } = await open(t)
  const lapsed = await held('late', '1', { user_id: 'lapsed' })
  const free = await held('late', '0', { user_id: 'free' })
  await session.commit(booking(free, '0'))
  const zero = spending('late', '0', { user_id: 'record' })
  await session.record(zero)
  const undone = spending('late', '1', { user_id: 'undone' })
  await session.record(undone)
  const corrected = await session.correct(undone.cost_record_id, '0')
  t.match(corrected, { lines: { length: 2 } })
  await session.moveTo('2027-03-02T00:00:00Z')
  await expireReservations(session.db, 500)
  const before = await known()
  await session.moveTo(LATER)

  const idle = await listIdleScopes(session.db, DAYS, FIRST, 100)
  t.same(
    idle.map(({ user_id: user, is_free: isFree }) => [user, isFree]),
    ['', 'free', 'lapsed', 'record', 'undone'].map((user) => [user, false]),
  )
  t.same(await listIdleScopes(session.db, DAYS, idle[1]!, 2), idle.slice(2, 4), 'idle scopes are listed in pages')
  t.match(await session.commit(booking(lapsed, '3')), [{ outcome: { committed: { cost_usd: '3', late: true } } }])
  await assertHealthy(t, database.pool)
  // Archived records still name their balances, even if they cost nothing.
  await database.pool.query(`delete from copilot_internal.reservations where tenant_id = 'late'`)
  await session.moveTo('2028-03-01T12:00:00Z')
  t.equal(await retire(), 0)
  t.same(await known(), before)
  const { rows } = await database.pool.query(
    `select count(*)::integer as files from copilot_internal.cost_archives where state = 'archived' and records > 0`,
  )
  t.ok(rows[0].files > 0)
  await assertHealthy(t, database.pool)
})

t.test('a scope stays while an event names its quota, or if an administrator changed its quota', async (t) => {
  const { database, session, seen, known, retire } = await open(t)
  await setQuotas(session.db, [
    { scope: 'tenant', tenant_id: 'kept-own', period: 'day', limit_usd: '7' },
    { scope: 'tenant', tenant_id: 'kept-deleted', period: 'day', limit_usd: '7' },
  ])
  const { rows } = await database.pool.query(
    `select quota_id::integer as id from copilot_internal.cost_quotas where tenant_id = 'kept-deleted'`,
  )
  await seen('kept-own')
  await seen('kept-deleted')
  await deleteQuota(session.db, rows[0].id)
  await seen('kept-refused', 'u')
  t.match(await session.reserve(hold('kept-refused', '3', { user_id: 'u' })), [{ outcome: { refused: {} } }])
  await session.moveTo(LATER)
  t.equal(await retire({ eventDays: 3_650 }), 0)
  t.match(await session.reserve(hold('kept-deleted', '1000', { reservation_id: idOf(1) })), [{ quotas: { length: 0 } }])
  await session.release(idOf(1))
  await database.pool.query(`update copilot_internal.quota_events set endpoint_ids = '{}'`)
  t.equal(await retire(), 2, 'once the event is deleted, its tenant and user retire')
  t.same((await known()).scopes, ['kept-deleted', 'kept-own'])
  await assertHealthy(t, database.pool)
})

const idOf = (last: number) => `01900000-0000-7000-8000-00000000000${last}`

t.test('a scope that is used after it was found idle stays', async (t) => {
  const { database, session, held, seen } = await open(t)
  await seen('races', 'found')
  await session.moveTo(LATER)
  const found = await listIdleScopes(session.db, DAYS, FIRST, 100)
  t.same(
    found.map(({ tenant_id: tenant, user_id: user, is_free: isFree }) => [tenant, user, isFree]),
    [
      ['races', '', true],
      ['races', 'found', true],
    ],
  )
  // A hold of 0 USD changes no balance, but it names its balances.
  const id = await held('races', '0', { user_id: 'found' })
  t.equal(await retireScopes(session.db, DAYS, found), 0)
  t.match(await session.commit(booking(id, '1')), [{ outcome: { committed: { cost_usd: '1' } } }])
  await assertHealthy(t, database.pool)
})

t.test('no scope retires while a running decision may be about to use it', async (t) => {
  const { database, session, seen } = await open(t)
  await seen('flight')
  await session.moveTo(LATER)
  const other = openSession(t, database.url)
  await other.moveTo(LATER)
  const found = await listIdleScopes(session.db, DAYS, FIRST, 100)
  t.equal(found.length, 1)
  await other.pool.query('begin')
  const item = hold('flight', '1')
  await other.reserve(item)
  await t.rejects(
    retireScopes(session.db, DAYS, found),
    { code: '55P03' },
    'retiring times out on the lock, and can be tried again',
  )
  const retiring = retireScopes(session.db, DAYS, found)
  const waits = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  while ((await database.pool.query(waits)).rowCount === 0);
  await other.pool.query('commit')
  t.equal(await retiring, 0)
  t.match(await session.commit(booking(item.reservation_id, '1')), [{ outcome: { committed: { cost_usd: '1' } } }])
  await assertHealthy(t, database.pool)
})
