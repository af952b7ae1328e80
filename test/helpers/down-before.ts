import type pg from 'pg'
import { migrateDown, migrationStatus } from '../../src/db/migrate/migrations.ts'

/** Migrates the database down to just before the migration whose name has this ending. */
export async function downBefore(pool: pg.Pool, name: string): Promise<void> {
  const { migrations } = await migrationStatus(pool)
  const at = migrations.findIndex((one) => one.name.endsWith(name))
  await migrateDown(pool, () => {}, { to: migrations[at - 1]!.name })
}
