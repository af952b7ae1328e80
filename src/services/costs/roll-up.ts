import type { Db } from '../../db/pool/connection.ts'
import { rollUpTail } from '../../db/costs/rollups.ts'

/** Cost records rolled up in one transaction. */
const LINES_MAX = 10_000

/**
 * Rolls up the cost records that are not rolled up yet. Stops when none are left, or when another instance is doing it.
 *
 * @param deps.db a connection whose statements may take minutes. With a shorter limit, a statement that is too slow once
 * would fail every time, and the backlog would grow for ever.
 */
export async function rollUp({ db }: { db: Db }, signal: AbortSignal): Promise<void> {
  for (let block = 0; !signal.aborted;) {
    const rolled = await rollUpTail(db, LINES_MAX, block)
    if (rolled.lines === LINES_MAX) block = rolled.block
    else if (block === 0) return
    // New records may have been stored in earlier blocks, so start again from the first one.
    else block = 0
  }
}
