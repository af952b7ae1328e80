import type pg from 'pg'
import { setQuotas, sumAhead, type QuotaInput } from '../../src/db/quotas/quotas.ts'
import type { Db } from '../../src/db/pool/connection.ts'
import { median, timed } from '../figures.ts'
import { say } from '../stage.ts'

const TENANTS = 1_000
const STEP = 100_000
const ROUNDS = 5

type NewQuota = {
  quota: string
  /** Summed and set in one step, for all of which decisions wait, as for a change of a default. */
  atOnceMs: number
  /** Summed ahead, while decisions go on, and then set, for which they wait. */
  aheadMs: number
  waitMs: number
}

/** How long decisions wait for a new quota whose period has many records already: summed at once and ahead, in turn; medians. */
export async function measureNewQuotas(db: Db, pool: pg.Pool, records: number): Promise<NewQuota[]> {
  await fill(pool, records)
  const month = { period: 'month', limit_usd: '900000000' }
  const inputs: Record<string, QuotaInput[]> = {
    'the platform’s month': [{ ...month, resource_type: 'llm', scope: 'platform' }],
    'a tenant’s month': [{ ...month, scope: 'tenant', tenant_id: 'o-1' }],
    '100 tenants’ months': Array.from({ length: 100 }, (_, n) => ({ ...month, scope: 'tenant', tenant_id: `o-${n}` })),
  }
  const found: NewQuota[] = []
  for (const [quota, input] of Object.entries(inputs)) {
    say(`setting ${quota}`)
    const [atOnce, ahead, waits]: [number[], number[], number[]] = [[], [], []]
    for (let round = 0; round < ROUNDS; round += 1) {
      atOnce.push(await timed(() => setAndRollBack(db, input)))
      let summed: QuotaInput[] = []
      ahead.push(await timed(async () => (summed = await sumAhead(db, input))))
      waits.push(await timed(() => setAndRollBack(db, summed)))
    }
    found.push({ quota, atOnceMs: median(atOnce), aheadMs: median(ahead), waitMs: median(waits) })
  }
  return found
}

async function fill(pool: pg.Pool, records: number): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query(
      `select copilot_internal.delete_quota(quota_id) from copilot_internal.cost_quotas where scope = 'platform' and period = 'month'`,
    )
    // No triggers: roll-ups are not measured here.
    await client.query('set session_replication_role = replica')
    for (let n = 0; n < records; n += STEP) {
      const end = Math.min(n + STEP, records)
      await client.query(
        `insert into copilot_internal.llm_cost_records (cost_record_id, tenant_id, user_id, provider, model, total_cost_usd,
           quota_period_ids, occurred_at, booked_at, recorded_at)
         select copilot_internal.uuid_v7(at), 'o-' || n % $3::integer, 'u-1', 'openai', 'gpt-6.1-sol', 0.001234, '{}', at, at, at
         from generate_series($1::integer, $2::integer) n
         cross join lateral (select date_trunc('month', now(), 'UTC') + random() * (now() - date_trunc('month', now(), 'UTC')) as at) t`,
        [n, end - 1, TENANTS],
      )
      say(`${end} of ${records} records`)
    }
    await client.query('set session_replication_role = default')
    await client.query('vacuum analyze copilot_internal.llm_cost_records')
  } finally {
    client.release()
  }
}

async function setAndRollBack(db: Db, quotas: QuotaInput[]): Promise<void> {
  const transaction = await db.startTransaction().execute()
  await setQuotas(transaction, quotas)
  await transaction.rollback().execute()
}
