import { sql } from 'kysely'
import type { Db } from './connection.ts'

/** The random secret of this database, with which its instances seal what they keep in Redis. */
export async function readCacheSecret(db: Db): Promise<string> {
  const { rows } = await sql<{ secret: string }>`select secret from copilot_internal.cache_secret`.execute(db)
  return rows[0]!.secret
}
