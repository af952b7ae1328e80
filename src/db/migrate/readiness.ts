import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'
import { migrationTable, schemaName } from './migration-bookkeeping.ts'
import { migrationsFolder, readMigrationFiles } from './migration-files.ts'

let expected: string[] | undefined

/** Lists the numbered migrations of this release that the database lacks. */
export async function missingMigrations(db: Db): Promise<string[]> {
  expected ??= readMigrationFiles(migrationsFolder).numbered.map(({ name }) => name)
  const { rows } = await sql<{
    name: string
  }>`select name from ${sql.table(`${schemaName}.${migrationTable}`)}`.execute(db)
  const applied = new Set(rows.map(({ name }) => name))
  return expected.filter((name) => !applied.has(name))
}
