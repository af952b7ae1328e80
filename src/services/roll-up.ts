import type { Db } from '../db/connection.ts'
import { rollUpCosts } from '../db/rollups.ts'

/** So many lines a transaction: well within what a statement may take. */
const LINES_MAX = 10_000

/** Rolls up the lines of cost that wait for it, until none does or another instance is at it. */
export async function rollUp({ db }: { db: Db }, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await rollUpCosts(db, LINES_MAX)) > 0);
}
