import type { Test } from 'tap'
import type pg from 'pg'

/** Asserts that every invariant of the money holds. */
export async function assertHealthy(t: Test, pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query('select * from copilot_internal.check_integrity()')
  t.same(rows, [], 'check_integrity() is empty')
}
