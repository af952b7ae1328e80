import { join } from 'node:path'
import pg from 'pg'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../src/embedded/postgres.ts'
import { startService } from './processes.ts'
import { openFolder, say } from './stage.ts'

export const TENANTS = 1_000
export const USERS_PER_TENANT = 10

/** All tables stay in memory, and checkpoints are rare. */
export const POSTGRES_SETTINGS = { shared_buffers: '512MB', max_wal_size: '4GB' }

/** An embedded Postgres that flushes to disk, on a temporary folder unless another one is given. */
export async function startPostgres(
  stack: AsyncDisposableStack,
  settings: Record<string, string> = {},
  dataDir = join(openFolder(stack), 'postgres'),
): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ dataDir, settings })
  stack.defer(() => postgres.stop())
  return postgres
}

export function openPool(stack: AsyncDisposableStack, connectionString: string): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 2 })
  // Postgres may stop while a connection is still closing.
  pool.on('error', () => {})
  stack.defer(() => pool.end())
  return pool
}

/** Starts a service on the database once, which migrates it and adds prices; then makes the quotas. Answers a pool. */
export async function prepareDatabase(
  stack: AsyncDisposableStack,
  databaseUrl: string,
  folder?: string,
): Promise<pg.Pool> {
  const migrating = await startService(stack, { DATABASE_URL: databaseUrl }, folder)
  await migrating.stop()
  say(`making four quotas for each of ${TENANTS} tenants x ${USERS_PER_TENANT} users`)
  const pool = openPool(stack, databaseUrl)
  await makeQuotas(pool, TENANTS, USERS_PER_TENANT)
  return pool
}

/** Platform, tenant by day and by month, user by day. None of them ever refuses, except that of the tenant `t-refused`. */
export async function makeQuotas(pool: pg.Pool, tenants: number, usersPerTenant: number): Promise<void> {
  await pool.query(
    `select count(*) from (
       select json_agg(w) as q from (
         select 'platform' as scope, null as tenant_id, null as user_id, 'month' as period, 900000000 as limit_usd
         union all select 'tenant', 't-' || t, null, p, 900000000 from generate_series(1, $1) t, unnest(array['day', 'month']) p
         union all select 'user', 't-' || t, 'u-' || u, 'day', 900000000 from generate_series(1, $1) t, generate_series(1, $2) u
         union all select 'tenant', 't-refused', null, 'day', 0
       ) w) s, copilot_internal.set_quotas(q)`,
    [tenants, usersPerTenant],
  )
  await pool.query('analyze')
}

export async function countReservations(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ n: string }>('select count(*) as n from copilot_internal.reservations')
  return Number(rows[0]!.n)
}

export async function countBrokenInvariants(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query('select from copilot_internal.check_integrity()')
  return rows.length
}
