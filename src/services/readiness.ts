import type { SharedCache } from '../cache/shared.ts'
import type { Db } from '../db/pool/connection.ts'
import { missingMigrations } from '../db/migrate/readiness.ts'

/** Whether the service can decide. Redis is told, but never makes it unready. */
export async function readiness({ db, shared }: { db: Db; shared: SharedCache }): Promise<{
  ready: boolean
  checks: { postgres: string; migrations: string; redis: string }
}> {
  const redis = shared.status() ?? 'not configured'
  try {
    const missing = await missingMigrations(db)
    const migrations = missing.length === 0 ? 'up' : `missing: ${missing.join(', ')}`
    return { ready: missing.length === 0, checks: { postgres: 'up', migrations, redis } }
  } catch {
    return { ready: false, checks: { postgres: 'down', migrations: 'unknown', redis } }
  }
}
