import type { Db } from '../../db/pool/connection.ts'
import { readHistory, type StoredPeriod } from '../../db/quotas/quotas.ts'
import { timeText, usdJson } from '../answers.ts'
import { pageOf, type PageOf } from '../page.ts'
import type { Principal } from '../keys/principal.ts'
import { visibleQuota } from './quotas.ts'

/** Lists the periods of a quota with their limits and amounts, the current one first. @throws not_found */
export async function quotaHistory(
  { db }: { db: Db },
  principal: Principal,
  quotaId: number,
  beforeMicros: string | null,
  limit: number,
): Promise<PageOf<string>> {
  await visibleQuota(db, principal, quotaId)
  const periods = await readHistory(db, quotaId, principal.tenantId, beforeMicros, limit + 1)
  return pageOf(periods, limit, periodAnswer, ({ starts_micros: micros }) => micros)
}

function periodAnswer(period: StoredPeriod): object {
  return {
    period_starts_at: timeText(period.starts_at),
    period_ends_at: timeText(period.ends_at),
    limit_usd: usdJson(period.limit_usd),
    spent_usd: usdJson(period.spent_usd),
    reserved_usd: usdJson(period.reserved_usd),
  }
}
