import { sql } from 'kysely'
import t from 'tap'
import { becomeReader, connect, readForTenant, readReport, type Db } from '../../src/db/pool/connection.ts'
import { listRecords } from '../../src/db/costs/cost-records.ts'
import { listEvents } from '../../src/db/alerts/events.ts'
import { readHolders, readScopeStatus } from '../../src/db/quotas/quota-status.ts'
import { findQuota, listQuotas, readHistory } from '../../src/db/quotas/quotas.ts'
import { findReservation, listReservations } from '../../src/db/reservations/reservations.ts'
import { findRoles } from '../../src/db/pool/roles.ts'
import { createDatabase } from '../helpers/database.ts'
import { fillTenants } from '../helpers/money/two-tenants.ts'

const database = await createDatabase(t)
const ids = await fillTenants(t, database, ['acme', 'other'])
const { roles, unprotected } = await findRoles(database.url)
// One connection for reads and one for reports, so that a setting left on the connection would affect the next read.
const db = connect(database.url, { roles, connectionsMax: 1 })
t.teardown(() => db.destroy())

type State = { role: string; tenant: string | null; pid: number }
const state = async (of: Db): Promise<State> => {
  const { rows } = await sql<State>`
    select current_user as role, nullif(current_setting('purser.tenant', true), '') as tenant, pg_backend_pid() as pid`.execute(
    of,
  )
  return rows[0]!
}
const countAll = async (of: Db): Promise<string[]> => {
  const { rows } = await sql<{ tenant_id: string }>`
    select distinct tenant_id from copilot_internal.reservations order by 1`.execute(of)
  return rows.map(({ tenant_id: tenant }) => tenant)
}

t.test('the login of the owner can take on both roles, and nothing is left unprotected', async (t) => {
  t.same({ roles, unprotected }, { roles: { service: true, reader: true }, unprotected: [] })
  t.match(await state(db), { role: 'purser_service', tenant: null })
  t.match(await readReport(db, null, state), { role: 'purser_service', tenant: null })
})

t.test('reads for a tenant run as the reader role, for that tenant and one transaction only', async (t) => {
  for (const read of [readForTenant, readReport]) {
    t.match(await read(db, 'acme', state), { role: 'purser_reader', tenant: 'acme' })
    t.same(await read(db, 'acme', countAll), ['acme'], 'the statement asks for all tenants')
    t.same(await read(db, 'nobody', countAll), [])
    t.same(await read(db, null, countAll), ['acme', 'other'])
  }
})

t.test('reports run without JIT, even if the server would use it', async (t) => {
  const compiles = async (of: Db) => (await sql<{ jit: string }>`show jit`.execute(of)).rows[0]!.jit
  await database.pool.query(`alter database ${database.name} set jit = on`)
  const fresh = connect(database.url, { roles })
  t.teardown(() => fresh.destroy())
  t.equal(await compiles(fresh), 'on')
  t.equal(await readReport(fresh, null, compiles), 'off')
  t.equal(await readReport(fresh, 'acme', compiles), 'off')
})

t.test(
  'role and tenant do not stay on a pooled connection: after an answer, an error, a statement timeout',
  async (t) => {
    for (const read of [readForTenant, readReport]) {
      const before = await read(db, null, state)
      const after = async (what: string) => t.same(await read(db, null, state), before, `${read.name} ${what}`)
      await read(db, 'acme', countAll)
      await after('after an answer')
      await t.rejects(
        read(db, 'acme', (reading) => sql`select 1 / 0`.execute(reading)),
        { code: '22012' },
      )
      await after('after an error of a statement')
      await t.rejects(
        read(db, 'acme', async () => {
          throw new Error('of ours')
        }),
        { message: 'of ours' },
      )
      await after('after an error of ours')
      await t.rejects(
        read(db, 'acme', async (reading) => {
          await sql`set local statement_timeout = 1`.execute(reading)
          await sql`select pg_sleep(5)`.execute(reading)
        }),
        { code: '57014' },
      )
      await after('after a statement that was ended')
      await t.rejects(
        read(db, 'acme', (reading) => sql`insert into copilot_internal.scopes default values`.execute(reading)),
        { code: /42501|25006/ },
        'the reader cannot write',
      )
      await after('after a write that was refused')
    }
  },
)

t.test('a tenant’s name is only a value: it cannot become a role, a setting or a statement', async (t) => {
  for (const name of [`acme'; reset role --`, `' or true --`, 'acme", "other', '%', 'ACME', ' acme']) {
    t.same(await readForTenant(db, name, countAll), [], name)
    t.equal((await readForTenant(db, name, state)).role, 'purser_reader')
  }
})

t.test('a transaction of the reader sees only the rows of its tenant, whatever it asks for', async (t) => {
  await db.transaction().execute(async (transaction) => {
    await becomeReader(transaction, 'acme')
    t.same(await countAll(transaction), ['acme'])
  })
})

t.test('each read for one tenant finds only that tenant’s rows, by any id', async (t) => {
  t.match(await findReservation(db, ids.acme.reservationId, 'acme'), { tenant_id: 'acme' })
  t.equal(await findReservation(db, ids.other.reservationId, 'acme'), null)
  t.match(await findQuota(db, ids.acme.quotaId, 'acme'), { tenant_id: 'acme' })
  t.equal(await findQuota(db, ids.other.quotaId, 'acme'), null)
  t.not((await readHistory(db, ids.acme.quotaId, 'acme', null, 10)).length, 0)
  t.same(await readHistory(db, ids.other.quotaId, 'acme', null, 10), [])
  const own = (rows: { tenant_id: string | null }[]) => {
    t.not(rows.length, 0)
    t.ok(rows.every((row) => row.tenant_id === 'acme'))
  }
  own((await listRecords(db, { tenantId: 'acme' }, null, 100)).rows)
  own(await listEvents(db, { tenantId: 'acme' }, null, 100))
  own(await listQuotas(db, { tenantId: 'acme' }, 0, 100))
  own((await listReservations(db, { equal: { tenant_id: 'acme' }, labels: {} }, null, 100)).reservations)
  const status = await readScopeStatus(db, { tenantId: 'acme', userId: 'u' })
  t.match(status.quotas, [{ scope: 'user', spent_usd: '6', reserved_usd: '1' }])
  const periods = status.quotas.map((row) => row.quota_period_id!)
  t.match(Object.values(await readHolders(db, { tenantId: 'acme', userId: 'u' }, periods)), [[{ tenant_id: 'acme' }]])
  const platform = await readScopeStatus(db, { tenantId: '', userId: '' })
  t.match(platform.quotas, [{ scope: 'platform', reserved_usd: '2' }])
  const all = platform.quotas.map((row) => row.quota_period_id!)
  t.same(
    Object.keys(await readHolders(db, { tenantId: 'acme', userId: '' }, all)),
    Object.keys(await readHolders(db, { tenantId: '', userId: '' }, all)),
    'in the periods of the platform a tenant finds only its own holds',
  )
})

t.test('a page for one tenant reads no more reservations than any other page', async (t) => {
  const walk = async (tenant: string, max: number) => {
    const found: string[] = []
    for (let after: string | null = null, pages = 1; ; pages += 1) {
      const filter = { equal: { tenant_id: tenant }, labels: {} }
      const page = await listReservations(db, filter, after, 100, max)
      found.push(...page.reservations.map(({ reservation_id: id }) => id))
      if (page.readUntil === null) return { found, pages }
      after = page.readUntil
    }
  }
  const whole = await walk('acme', 1_000)
  t.match(whole, { found: { length: 2 }, pages: 1 })
  for (const max of [1, 2, 3]) {
    const parts = await walk('acme', max)
    t.same(parts.found, whole.found, `${max} at a time`)
    t.ok(parts.pages > 1)
  }
})

t.test('reading the quotas of one tenant reads no rows of other tenants', async (t) => {
  const many = await createDatabase(t)
  await many.pool.query(`
    insert into copilot_internal.cost_quotas (resource_type, scope, tenant_id, user_id, period, limit_usd, created_at, updated_at)
      select 'llm', 'user', 't-' || n / 10, 'u-' || n % 10, 'day', 10, now(), now() from generate_series(0, 29999) n;
    insert into copilot_internal.cost_quotas (resource_type, scope, tenant_id, period, limit_usd, created_at, updated_at)
      select 'llm', 'tenant', 't-' || n, 'day', 10, now(), now() from generate_series(0, 2999) n;
    analyze copilot_internal.cost_quotas`)
  const reading = connect(many.url, { roles, connectionsMax: 1 })
  t.teardown(() => reading.destroy())
  const scans = async () => {
    await sql`select pg_stat_force_next_flush()`.execute(reading)
    const { rows } = await sql<{ scans: string }>`
      select seq_scan as scans from pg_stat_all_tables where relid = 'copilot_internal.cost_quotas'::regclass`.execute(
      reading,
    )
    return rows[0]!.scans
  }
  const before = await scans()
  t.match(await readScopeStatus(reading, { tenantId: 't-7', userId: '' }), { quotas: [{ scope: 'tenant' }] })
  t.match(await readScopeStatus(reading, { tenantId: 't-7', userId: 'u-3' }), { quotas: [{ scope: 'user' }] })
  t.same(await readScopeStatus(reading, { tenantId: '', userId: '' }).then(({ quotas }) => quotas), [])
  t.equal((await listQuotas(reading, { tenantId: 't-7' }, 0, 100)).length, 11)
  t.equal(await scans(), before)
})
