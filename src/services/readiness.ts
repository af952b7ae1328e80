import type { SharedCache } from '../cache/shared.ts'
import type { Db } from '../db/pool/connection.ts'
import { missingMigrations } from '../db/migrate/readiness.ts'

/** Tells whether the service can make decisions. The answer reports Redis, but Redis being down does not make it unready. */
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
