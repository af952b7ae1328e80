import type { Db } from '../db/connection.ts'
import { rollUpCosts } from '../db/rollups.ts'

/** So many lines a transaction. */
const LINES_MAX = 10_000

/**
 * Rolls up the lines of cost that wait for it, until none does or another instance is at it.
 *
 * @param deps.db a connection whose statements may take minutes: one that ended too early would end so each time, and the tail
 * would grow for ever.
 */
export async function rollUp({ db }: { db: Db }, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await rollUpCosts(db, LINES_MAX)) > 0);
}
