import type { Db } from '../../db/pool/connection.ts'
import { readQuotaReport, type ReportedPeriod } from '../../db/quotas/quotas.ts'
import { timeText, usdJson } from '../answers.ts'

/** Reports what each quota would have refused in the last `days` days if it had been enforced; see quota_report(). */
export async function quotaReport({ db }: { db: Db }, days: number): Promise<object[]> {
  return (await readQuotaReport(db, days)).map(reportAnswer)
}

function reportAnswer(row: ReportedPeriod): object {
  return {
    ...row,
    limit_usd: usdJson(row.limit_usd),
    spent_usd: usdJson(row.spent_usd),
    refused_usd: usdJson(row.refused_usd),
    period_starts_at: timeText(row.period_starts_at),
    period_ends_at: timeText(row.period_ends_at),
    first_refused_at: timeText(row.first_refused_at),
  }
}
