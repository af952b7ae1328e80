import { join } from 'node:path'
import pg from 'pg'
import { startNode, startService, type Running } from './processes.ts'
import { openFolder, say, startPostgres } from './stage.ts'

export const KEY = 'bench-admin-key-0123456789abcdef'
export const TENANTS = 1_000
export const USERS_PER_TENANT = 10

export type Setup = {
  pool: pg.Pool
  postgresPid: number
  service: Running
  bare: Running
  oneByOne: Running
  /** How long a start on an empty folder took until it listened, embedded Postgres, migrations and prices included. */
  emptyMs: number
}

/** The service on a Postgres of its own that flushes to disk, with quotas for every tenant and user, and both yardsticks. */
export async function setUp(stack: AsyncDisposableStack): Promise<Setup> {
  say('starting on an empty folder')
  const first = await startService({ PURSER_DATA_DIR: join(openFolder(stack), 'own'), PURSER_ADMIN_KEY: KEY })
  stack.defer(() => first.stop())
  await answers(first)
  await first.stop()

  const postgres = await startPostgres(stack, { shared_buffers: '512MB', max_wal_size: '4GB' })
  const environment = {
    DATABASE_URL: postgres.databaseUrl,
    PURSER_ADMIN_KEY: KEY,
    PURSER_RATE_LIMIT_DECISIONS: '100000000',
    PURSER_RATE_LIMIT_READS: '100000000',
  }
  const migrating = await startService(environment)
  await migrating.stop()
  const pool = new pg.Pool({ connectionString: postgres.databaseUrl })
  stack.defer(() => pool.end())
  say(`making four quotas for each of ${TENANTS} tenants x ${USERS_PER_TENANT} users`)
  await makeQuotas(pool)
  const service = await startService(environment)
  stack.defer(() => service.stop())
  await answers(service)
  const bare = await startNode(['bench/bare.ts'], { BENCH_KEY: KEY })
  stack.defer(() => bare.stop())
  const oneByOne = await startNode(['bench/one-by-one.ts'], { DATABASE_URL: postgres.databaseUrl })
  stack.defer(() => oneByOne.stop())
  return { pool, postgresPid: postgres.pid, service, bare, oneByOne, emptyMs: first.startedMs }
}

/** Platform, tenant by day and by month, user by day: all wide enough never to bind, but for one tenant that has nothing. */
export async function makeQuotas(pool: pg.Pool): Promise<void> {
  await pool.query(
    `select count(*) from (
       select json_agg(w) as q from (
         select 'platform' as scope, null as tenant_id, null as user_id, 'month' as period, 900000000 as limit_usd
         union all select 'tenant', 't-' || t, null, p, 900000000 from generate_series(1, $1) t, unnest(array['day', 'month']) p
         union all select 'user', 't-' || t, 'u-' || u, 'day', 900000000 from generate_series(1, $1) t, generate_series(1, $2) u
         union all select 'tenant', 't-refused', null, 'day', 0
       ) w) s, copilot_internal.set_quotas(q)`,
    [TENANTS, USERS_PER_TENANT],
  )
  await pool.query('analyze')
}

async function answers(service: Running): Promise<void> {
  const response = await fetch(`${service.url}/readyz`)
  if (!response.ok) throw new Error(`the service is not ready: ${await response.text()}`)
}
