import type { Db } from '../../db/pool/connection.ts'
import { rollUpTail } from '../../db/costs/rollups.ts'

/** So many lines a transaction. */
const LINES_MAX = 10_000

/**
 * Rolls up the lines of cost that wait for it, until none does or another instance is at it.
 *
 * @param deps.db a connection whose statements may take minutes: one that ended too early would end so each time, and the tail
 * would grow for ever.
 */
export async function rollUp({ db }: { db: Db }, signal: AbortSignal): Promise<void> {
  for (let block = 0; !signal.aborted;) {
    const rolled = await rollUpTail(db, LINES_MAX, block)
    if (rolled.lines === LINES_MAX) block = rolled.block
    else if (block === 0) return
    // What came meanwhile may stand before it.
    else block = 0
  }
}
