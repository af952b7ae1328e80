import { sql } from 'kysely'
import type { Db } from './connection.ts'

/** Postgres ends a report after this, before the client gives up and leaves it running. */
const REPORT_MS = 8_000

/** Runs reads that may take long in one read-only transaction, each bounded by REPORT_MS (SQLSTATE 57014 beyond it). */
export function readReport<Answer>(db: Db, read: (transaction: Db) => Promise<Answer>): Promise<Answer> {
  return db
    .transaction()
    .setAccessMode('read only')
    .execute(async (transaction) => {
      await sql`set local statement_timeout = ${sql.lit(REPORT_MS)}`.execute(transaction)
      return read(transaction)
    })
}
