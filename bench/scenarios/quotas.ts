import { setTimeout as wait } from 'node:timers/promises'
import type pg from 'pg'
import { openSharedCache } from '../../src/cache/shared.ts'
import { connect, type Db } from '../../src/db/pool/connection.ts'
import { migrateUp } from '../../src/db/migrate/migrations.ts'
import type { Deps } from '../../src/services/deps.ts'
import type { Principal } from '../../src/services/keys/principal.ts'
import { quotaStatus } from '../../src/services/quotas/quota-status.ts'
import { commit } from '../../src/services/reservations/commit.ts'
import { reserve } from '../../src/services/reservations/reserve.ts'
import { openTestDeps } from '../../test/helpers/deps.ts'
import { makeQuotas, openPool, startPostgres } from '../database.ts'
import { median, quantile, timed } from '../figures.ts'
import { defineScenario } from '../scenario.ts'
import { say } from '../stage.ts'
import { measureNewQuotas } from './new-quotas.ts'

const CALLER: Principal = { id: 'key:bench', role: 'service', tenantId: null }
const AT_ONCE = 64
const BATCH = 32
const CALLS = 5_000
const TENANTS = 100
const READS = 5_000

export const scenario = defineScenario({
  help: `Changes the balances of a batch of commits with and without the check of thresholds, in turn, and compares that with what the
reservations and commits of such a batch take in the service. Reads the status of a tenant and user from Redis, where
REDIS_URL is set. Sets new quotas over a month with many records, summed while decisions wait and summed ahead. Postgres
flushes to disk; nothing goes over HTTP.`,
  options: {
    rounds: [2_000, 'changes of balances with the check, and as many without; medians are shown'],
    records: [1_000_000, 'records of the running month'],
  },
  async run(stack, options) {
    const { databaseUrl } = await startPostgres(stack)
    await migrateUp(databaseUrl, () => {})
    const db = connect(databaseUrl)
    stack.defer(() => db.destroy())
    const pool = openPool(stack, databaseUrl)
    await makeQuotas(pool, TENANTS, 1)
    // At the end of a month a statement over all of it may take longer than the service allows.
    const maintenanceDb = connect(databaseUrl, { statementMs: 600_000 })
    stack.defer(() => maintenanceDb.destroy())
    say('reserving and committing')
    const pairMicros = await measurePairs(db)
    say('changing balances')
    const change = await measureThresholds(pool, options.rounds)
    const statusMs = await measureStatus(db, process.env['REDIS_URL'])
    return { pairMicros, ...change, statusMs, newQuotas: await measureNewQuotas(maintenanceDb, pool, options.records) }
  },
  print({ pairMicros, balances, checkedMicros, uncheckedMicros, statusMs, newQuotas }, { records }) {
    const addedTo = (micros: number) => `${(((checkedMicros - uncheckedMicros) / micros) * 100).toFixed(2)} %`
    return [
      `a reservation and its commit: ${pairMicros.toFixed(0)} us; ${BATCH} of them: ${(pairMicros * BATCH).toFixed(0)} us`,
      `${balances} balances changed by their commits: ${checkedMicros.toFixed(0)} us, without the check of thresholds ${uncheckedMicros.toFixed(0)} us`,
      `the check adds ${addedTo(uncheckedMicros)} to that, ${addedTo(pairMicros * BATCH)} to the reservations and commits`,
      `status of a tenant and user from Redis: ${
        statusMs === null ? 'REDIS_URL is not set' : `${statusMs.p50.toFixed(2)} ms, p99 ${statusMs.p99.toFixed(2)} ms`
      }`,
      ...newQuotas.map(
        ({ quota, atOnceMs, aheadMs, waitMs }) =>
          `${quota}, new, over ${records} records: decisions wait ${waitMs.toFixed(0)} ms, after a sum ahead of ` +
          `${aheadMs.toFixed(0)} ms; summed at once they wait ${atOnceMs.toFixed(0)} ms`,
      ),
    ]
  },
})

/** Microseconds of a reservation and its commit, of AT_ONCE at a time. */
async function measurePairs(db: Db): Promise<number> {
  const deps = await openTestDeps(
    db,
    openSharedCache(undefined, 'bench', () => {}),
  )
  await reserveAndCommit(deps, CALLS / 10)
  return ((await timed(() => reserveAndCommit(deps, CALLS))) * 1_000) / CALLS
}

async function reserveAndCommit(deps: Deps, calls: number): Promise<void> {
  let next = 0
  const work = async () => {
    while (next < calls) {
      next += 1
      const { reservationId } = await reserve(
        deps,
        CALLER,
        { resource_type: 'llm', tenant_id: `t-${(next % TENANTS) + 1}`, user_id: 'u-1', estimated_cost_usd: '0.01' },
        null,
        () => false,
      )
      await commit(deps, CALLER, reservationId, { actual_cost_usd: '0.009' })
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}

/**
 * What thresholds cost while none is reached: change_balances() compares each balance with the amount of its next event. A copy
 * of the function without that comparison changes the balances of a batch in turn with the original.
 */
async function measureThresholds(pool: pg.Pool, rounds: number) {
  const client = await pool.connect()
  try {
    const { rows: made } = await client.query<{ body: string }>(
      `select pg_get_functiondef(oid) as body from pg_proc where proname = 'change_balances'`,
    )
    const checking = made[0]!.body
    const unchecked = checking.replace(/array_agg\(p\.quota_period_id\) filter \(where p\.is_due\)/, 'null::bigint[]')
    if (unchecked === checking) throw new Error('the text of change_balances() that checks thresholds has changed')
    await client.query(unchecked.replaceAll('.change_balances(', '.change_balances_unchecked('))
    const { rows } = await client.query<{ ids: string[] }>(
      `select array_agg(quota_period_id) as ids from copilot_internal.quota_periods
       where tenant_id is null or tenant_id = any (array(select 't-' || t from generate_series(1, $1) t))`,
      [BATCH],
    )
    const { ids } = rows[0]!
    const times: Record<string, number[]> = { change_balances: [], change_balances_unchecked: [] }
    for (let round = 0; round < rounds; round += 1) {
      const names = Object.keys(times)
      // Each goes first in turn: what one leaves behind slows the next.
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        await client.query('begin')
        times[name]!.push(
          await timed(() =>
            client.query(
              `select copilot_internal.${name}($1::bigint[], array_fill(0.01, array[cardinality($1)]),
                 array_fill(0::numeric, array[cardinality($1)]), 'late', now())`,
              [ids],
            ),
          ),
        )
        await client.query('rollback')
      }
    }
    const [checkedMicros, uncheckedMicros] = Object.values(times).map((some) => median(some) * 1_000)
    return { balances: ids.length, checkedMicros: checkedMicros!, uncheckedMicros: uncheckedMicros! }
  } finally {
    client.release()
  }
}

/** Milliseconds of a status read; null without Redis. */
async function measureStatus(db: Db, redisUrl: string | undefined): Promise<{ p50: number; p99: number } | null> {
  if (redisUrl === undefined) return null
  say('reading statuses')
  const shared = openSharedCache(redisUrl, 'bench', () => {})
  const deps = await openTestDeps(db, shared)
  try {
    while (shared.status() !== 'up') await wait(10)
    const read = () => quotaStatus(deps, CALLER, { tenant_id: 't-1', user_id: 'u-1' }, false)
    for (let call = 0; call < READS / 10; call += 1) await read()
    const times: number[] = []
    for (let call = 0; call < READS; call += 1) times.push(await timed(read))
    return { p50: median(times), p99: quantile(times, 0.99) }
  } finally {
    await shared.close()
  }
}
