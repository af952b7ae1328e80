// What quotas cost beside deciding: npm run bench:quotas. It prints; it never fails for a time.
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { openSharedCache } from '../src/cache/shared.ts'
import { connect, type Db } from '../src/db/pool/connection.ts'
import { migrateUp } from '../src/db/migrate/migrations.ts'
import type { Deps } from '../src/services/deps.ts'
import { quotaStatus } from '../src/services/quotas/quota-status.ts'
import { commit } from '../src/services/reservations/commit.ts'
import { reserve } from '../src/services/reservations/reserve.ts'
import type { Principal } from '../src/services/keys/principal.ts'
import { openTestDeps } from '../test/helpers/deps.ts'
import { compareOpenings, type Opening } from './openings.ts'
import { median, onStage, quantile, startPostgres } from './stage.ts'

const help = `Usage: npm run bench:quotas -- [options]

Changes the balances of a batch of commits with the check of thresholds and without it, in turn, beside what the reservations
and commits of such a batch take in the service; reads the status of a tenant and user from Redis (REDIS_URL); and sets new
quotas over a month with many records, summed at once and ahead. On an embedded Postgres that flushes to disk, without HTTP.

Options
  --rounds N   rounds of both (default 2000); the medians are shown
  --records N  records of the running month (default 1000000)
  --json       the figures as JSON
  --help       this text
`

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '2000' },
    records: { type: 'string', default: '1000000' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const CALLER: Principal = { id: 'key:bench', role: 'service', tenantId: null }
const AT_ONCE = 64
const BATCH = 32
const CALLS = 5_000
const TENANTS = 100
const READS = 5_000

if (values.help) process.stdout.write(help)
else report(await onStage(bench))

type Figures = {
  /** A reservation and its commit, of many at once. */
  pairMicroseconds: number
  /** How many balances a batch of commits changes, and how long that takes with the check of thresholds and without it. */
  balances: number
  changeMicroseconds: number
  silentMicroseconds: number
  /** Null without REDIS_URL. */
  statusMs: { p50: number; p99: number } | null
  openings: Opening[]
}

async function bench(stack: AsyncDisposableStack): Promise<Figures> {
  const { databaseUrl } = await startPostgres(stack)
  await migrateUp(databaseUrl, () => {})
  const db = connect(databaseUrl)
  stack.defer(() => db.destroy())
  const pool = new pg.Pool({ connectionString: databaseUrl })
  stack.defer(() => pool.end())
  await makeQuotas(pool)
  // At the end of a month a statement over it may take longer than one of the service.
  const patient = connect(databaseUrl, { statementMs: 600_000 })
  stack.defer(() => patient.destroy())
  return {
    ...(await compareThresholds(db, pool)),
    ...(await readStatus(db, process.env['REDIS_URL'])),
    openings: await compareOpenings(patient, pool, Number(values.records)),
  }
}

/** Platform, tenant by day and by month, user by day, with the usual thresholds; wide enough never to bind or warn. */
async function makeQuotas(pool: pg.Pool): Promise<void> {
  await pool.query(
    `select count(*) from (
       select json_agg(w) as q from (
         select 'platform' as scope, null as tenant_id, null as user_id, 'month' as period, 900000000 as limit_usd
         union all select 'tenant', 't-' || t, null, p, 900000000 from generate_series(1, $1) t, unnest(array['day', 'month']) p
         union all select 'user', 't-' || t, 'u-1', 'day', 900000000 from generate_series(1, $1) t
       ) w) s, copilot_internal.set_quotas(q)`,
    [TENANTS],
  )
  await pool.query('analyze')
}

/**
 * The one place where thresholds cost something while none is reached: what changes balances compares each with its next
 * event. It runs as it is and without that, call by call in turn, with the balances of a batch.
 */
async function compareThresholds(db: Db, pool: pg.Pool): Promise<Omit<Figures, 'statusMs' | 'openings'>> {
  const deps = await openTestDeps(
    db,
    openSharedCache(undefined, 'bench', () => {}),
  )
  await reserveAndCommit(deps, CALLS / 10)
  const startedAt = performance.now()
  await reserveAndCommit(deps, CALLS)
  const pairMicroseconds = ((performance.now() - startedAt) * 1_000) / CALLS

  const client = await pool.connect()
  try {
    const { rows: made } = await client.query<{ body: string }>(
      `select pg_get_functiondef(oid) as body from pg_proc where proname = 'change_balances'`,
    )
    const checking = made[0]!.body
    const silent = checking.replace(/array_agg\(p\.quota_period_id\) filter \(where p\.is_due\)/, 'null::bigint[]')
    if (silent === checking) throw new Error('change_balances() does not look for thresholds as this bench knows it')
    await client.query(silent.replaceAll('.change_balances(', '.change_balances_in_silence('))
    const { rows } = await client.query<{ ids: string[] }>(
      `select array_agg(quota_period_id) as ids from copilot_internal.quota_periods
       where tenant_id is null or tenant_id = any (array(select 't-' || t from generate_series(1, $1) t))`,
      [BATCH],
    )
    const change = async (name: string) => {
      await client.query('begin')
      const begun = performance.now()
      await client.query(
        `select copilot_internal.${name}($1::bigint[], array_fill(0.01, array[cardinality($1)]),
           array_fill(0::numeric, array[cardinality($1)]), 'late', now())`,
        [rows[0]!.ids],
      )
      const micros = (performance.now() - begun) * 1_000
      await client.query('rollback')
      return micros
    }
    const [withCheck, without]: [number[], number[]] = [[], []]
    for (let round = 0; round < Number(values.rounds); round += 1) {
      // Each goes first in turn: what one leaves behind slows the next.
      for (const checks of round % 2 === 0 ? [true, false] : [false, true]) {
        const micros = await change(checks ? 'change_balances' : 'change_balances_in_silence')
        ;(checks ? withCheck : without).push(micros)
      }
    }
    return {
      pairMicroseconds,
      balances: rows[0]!.ids.length,
      changeMicroseconds: median(withCheck),
      silentMicroseconds: median(without),
    }
  } finally {
    client.release()
  }
}

async function reserveAndCommit(deps: Deps, calls: number): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < calls) {
      next += 1
      const held = await reserve(
        deps,
        CALLER,
        { resource_type: 'llm', tenant_id: `t-${(next % TENANTS) + 1}`, user_id: 'u-1', estimated_cost_usd: '0.01' },
        null,
        () => false,
      )
      await commit(deps, CALLER, held.reservationId, { actual_cost_usd: '0.009' })
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

async function readStatus(db: Db, redisUrl: string | undefined): Promise<Pick<Figures, 'statusMs'>> {
  if (redisUrl === undefined) return { statusMs: null }
  const shared = openSharedCache(redisUrl, 'bench', () => {})
  const deps = await openTestDeps(db, shared)
  try {
    while (shared.status() !== 'up') await new Promise((resolve) => setTimeout(resolve, 10))
    const read = () => quotaStatus(deps, CALLER, { tenant_id: 't-1', user_id: 'u-1' }, false)
    for (let call = 0; call < READS / 10; call += 1) await read()
    const times: number[] = []
    for (let call = 0; call < READS; call += 1) {
      const startedAt = performance.now()
      await read()
      times.push(performance.now() - startedAt)
    }
    return { statusMs: { p50: median(times), p99: quantile(times, 0.99) } }
  } finally {
    await shared.close()
  }
}

function report(figures: Figures): void {
  if (values.json) {
    process.stdout.write(`${JSON.stringify(figures)}\n`)
    return
  }
  const { pairMicroseconds, balances, changeMicroseconds, silentMicroseconds, statusMs, openings } = figures
  const added = changeMicroseconds - silentMicroseconds
  const percentOf = (micros: number) => `${((added / micros) * 100).toFixed(2)} %`
  process.stdout.write(
    `a reservation and its commit: ${Math.round(pairMicroseconds)} us; ${BATCH} of them: ${Math.round(pairMicroseconds * BATCH)} us\n` +
      `${balances} balances changed by their commits: ${Math.round(changeMicroseconds)} us, without the check of thresholds ` +
      `${Math.round(silentMicroseconds)} us\n` +
      `the check adds ${percentOf(silentMicroseconds)} to that, ${percentOf(pairMicroseconds * BATCH)} to the reservations and commits\n` +
      `status of a tenant and user from Redis: ${
        statusMs === null ? 'REDIS_URL is not set' : `${statusMs.p50.toFixed(2)} ms, p99 ${statusMs.p99.toFixed(2)} ms`
      }\n` +
      openings
        .map(
          ({ quota, atOnce, ahead, underLock }) =>
            `${quota}, new, over ${values.records} records: decisions wait ${Math.round(underLock)} ms, after a sum of ` +
            `${Math.round(ahead)} ms beside them; summed at once ${Math.round(atOnce)} ms\n`,
        )
        .join('') +
      `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node}\n`,
  )
}
