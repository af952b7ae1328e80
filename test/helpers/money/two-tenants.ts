import type { Test } from 'tap'
import { setQuotas } from '../../../src/db/quotas/quotas.ts'
import type { TestDatabase } from '../database.ts'
import { booking, hold, openSession, spending } from './spend.ts'

/** The ids of a tenant's rows, which a test may look up. */
export type TenantIds = { reservationId: string; recordId: string; correctedId: string; quotaId: number }

/**
 * Makes every kind of row for each tenant and for the platform: quotas, balances, an open and a settled hold, costs of both
 * kinds, a correction, events, a key.
 */
export async function fillTenants<Tenant extends string>(
  t: Pick<Test, 'teardown'>,
  database: TestDatabase,
  tenants: readonly Tenant[],
): Promise<Record<Tenant, TenantIds>> {
  const session = openSession(t, database.url)
  await setQuotas(session.db, [{ scope: 'platform', period: 'day', limit_usd: '1000000' }])
  const ids = {} as Record<Tenant, TenantIds>
  for (const tenant of tenants) {
    const [{ quota }] = (await setQuotas(session.db, [
      { scope: 'tenant', tenant_id: tenant, period: 'month', limit_usd: '100' },
      { scope: 'user', tenant_id: tenant, user_id: 'u', period: 'day', limit_usd: '5' },
    ])) as [{ quota: { quota_id: number } }, unknown]
    const open = hold(tenant, '1', { user_id: 'u', idempotency_key: `of ${tenant}` })
    const settled = hold(tenant, '1', { user_id: 'u' })
    await session.reserve(open, settled)
    // The cost is above the hold and above the user's limit, so it emits events.
    const commit = booking(settled.reservation_id, '6')
    await session.commit(commit)
    const run = spending(tenant, '1', { resource_type: 'e2b', tier: 'standard', region: 'us-east-1' })
    const wrong = spending(tenant, '2')
    await session.record(run, wrong)
    await session.correct(wrong.cost_record_id, '3')
    await session.pool.query(
      `insert into copilot_internal.api_keys (key_id, name, role, tenant_id, prefix, created_at)
       values (gen_random_uuid(), $1, 'viewer', $1, 'psr_', now())`,
      [tenant],
    )
    ids[tenant] = {
      reservationId: open.reservation_id,
      recordId: commit.cost_record_id,
      correctedId: wrong.cost_record_id,
      quotaId: quota.quota_id,
    }
  }
  return ids
}
