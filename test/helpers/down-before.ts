import type pg from 'pg'
import { migrateDown, migrationStatus } from '../../src/db/migrate/migrations.ts'

/** Takes the database back to the release before the migration whose name ends so. */
export async function downBefore(pool: pg.Pool, name: string): Promise<void> {
  const { migrations } = await migrationStatus(pool)
  const at = migrations.findIndex((one) => one.name.endsWith(name))
  await migrateDown(pool, () => {}, { to: migrations[at - 1]!.name })
}
