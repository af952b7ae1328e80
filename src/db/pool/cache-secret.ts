import type { Db } from './connection.ts'

/** The random secret of this database, with which its instances seal what they keep in Redis. */
export async function readCacheSecret(db: Db): Promise<string> {
  const { secret } = await db.selectFrom('copilot_internal.cache_secret').select('secret').executeTakeFirstOrThrow()
  return secret
}
