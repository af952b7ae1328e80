import { readClock } from '../../db/pool/clock.ts'
import type { Db } from '../../db/pool/connection.ts'
import { emitCostAnomalies } from '../../db/alerts/events.ts'

const HOUR_MS = 3_600_000
/** Each run checks this many past hours again, because a run may have been missed and costs may arrive late. */
const HOURS = 3
const TENANTS_MAX = 200

/**
 * Emits cost.anomaly for tenants that spent far more in an hour than in the same hours of the 14 days before; once per tenant and hour.
 *
 * @param deps.db a connection whose statements may take minutes.
 */
export async function watchCosts({ db }: { db: Db }): Promise<void> {
  const now = (await readClock(db)).getTime()
  const running = now - (now % HOUR_MS)
  for (let n = HOURS; n > 0; n--) {
    const hour = new Date(running - n * HOUR_MS)
    let after: string | null = null
    do {
      after = await emitCostAnomalies(db, hour, after, TENANTS_MAX)
    } while (after !== null)
  }
}
