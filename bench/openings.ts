import type pg from 'pg'
import { setQuotas, sumAhead, type QuotaWish } from '../src/db/quotas/quotas.ts'
import type { Db } from '../src/db/pool/connection.ts'
import { median, say } from './stage.ts'

const TENANTS = 1_000
const STEP = 100_000
const ROUNDS = 5

/** Milliseconds, medians. */
export type Opening = {
  quota: string
  /** All of it while decisions wait, as a change from a default is. */
  atOnce: number
  /** In two steps: the sum, beside decisions, and the rest, for which they wait. */
  ahead: number
  underLock: number
}

/** How long decisions wait for a quota that is new where its period has many records: summed at once, and ahead, in turn. */
export async function compareOpenings(db: Db, pool: pg.Pool, records: number): Promise<Opening[]> {
  await fill(pool, records)
  const month = { period: 'month', limit_usd: '900000000' }
  const wishes: Record<string, QuotaWish[]> = {
    'the platform’s month': [{ ...month, resource_type: 'llm', scope: 'platform' }],
    'a tenant’s month': [{ ...month, scope: 'tenant', tenant_id: 'o-1' }],
    '100 tenants’ months': Array.from({ length: 100 }, (_, n) => ({ ...month, scope: 'tenant', tenant_id: `o-${n}` })),
  }
  const openings: Opening[] = []
  for (const [quota, wanted] of Object.entries(wishes)) {
    const [atOnce, ahead, underLock]: [number[], number[], number[]] = [[], [], []]
    for (let round = 0; round < ROUNDS; round += 1) {
      atOnce.push(await timed(() => undo(db, wanted)))
      let summed: QuotaWish[] = []
      ahead.push(await timed(async () => (summed = await sumAhead(db, wanted))))
      underLock.push(await timed(() => undo(db, summed)))
    }
    openings.push({ quota, atOnce: median(atOnce), ahead: median(ahead), underLock: median(underLock) })
  }
  return openings
}

async function fill(pool: pg.Pool, records: number): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query(
      `select copilot_internal.delete_quota(quota_id) from copilot_internal.cost_quotas where scope = 'platform' and period = 'month'`,
    )
    // Rollups are not what is measured.
    await client.query('set session_replication_role = replica')
    for (let n = 0; n < records; n += STEP) {
      await client.query(
        `insert into copilot_internal.llm_cost_records (cost_record_id, tenant_id, user_id, provider, model, total_cost_usd,
           quota_period_ids, occurred_at, booked_at, recorded_at)
         select copilot_internal.uuid_v7(at), 'o-' || n % $3::integer, 'u-1', 'openai', 'gpt-6.1-sol', 0.001234, '{}', at, at, at
         from generate_series($1::integer, $2::integer) n
         cross join lateral (select date_trunc('month', now(), 'UTC') + random() * (now() - date_trunc('month', now(), 'UTC')) as at) t`,
        [n, Math.min(n + STEP, records) - 1, TENANTS],
      )
      say(`${Math.min(n + STEP, records)} of ${records} records`)
    }
    await client.query('set session_replication_role = default')
    await client.query('vacuum analyze copilot_internal.llm_cost_records')
  } finally {
    client.release()
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

/** Sets quotas and undoes it. */
async function undo(db: Db, quotas: QuotaWish[]): Promise<void> {
  const transaction = await db.startTransaction().execute()
  await setQuotas(transaction, quotas)
  await transaction.rollback().execute()
}
