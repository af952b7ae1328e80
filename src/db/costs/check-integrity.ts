import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'

/** A row that breaks an invariant: the invariant's name in the design (I1, I2, …; keys), the row, and how it breaks it. */
export type BrokenInvariant = { invariant: string; subject: string; detail: string }

/** Checks every reservation, balance and record in one snapshot. The result is empty if all invariants hold. */
export async function checkIntegrity(db: Db): Promise<BrokenInvariant[]> {
  const { rows } = await sql<BrokenInvariant>`
    select invariant, subject, detail from copilot_internal.check_integrity() order by invariant, subject, detail`.execute(
    db,
  )
  return rows
}
