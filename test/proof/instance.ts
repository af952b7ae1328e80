import type { Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import { openSharedCache } from '../../src/cache/shared.ts'
import { connect } from '../../src/db/pool/connection.ts'
import { bootstrapAdminKey } from '../../src/services/keys/api-keys.ts'
import { ADMIN_KEY } from '../helpers/servers/service.ts'
import { openTestDeps } from '../helpers/deps.ts'

/**
 * Starts a whole service in this process, with its own pool, queues and port. Many of them take less memory than as many
 * processes, and share one clock. Stopped when `t` is done.
 *
 * @returns its URL. The admin key is ADMIN_KEY.
 */
export async function openInstance(t: Pick<Test, 'teardown'>, databaseUrl: string): Promise<string> {
  const db = connect(databaseUrl, { connectionsMax: 4 })
  const shared = openSharedCache(undefined, databaseUrl, () => {})
  await bootstrapAdminKey({ db }, ADMIN_KEY)
  const unlimited = 100_000_000
  const app = await buildApp({
    deps: await openTestDeps(db, shared),
    limits: { decisions: unlimited, reads: unlimited, admin: unlimited },
    allowEmailIds: false,
    version: 'test',
    logger: false,
  })
  t.teardown(async () => {
    await app.close()
    await shared.close()
    await db.destroy()
  })
  return app.listen({ host: '127.0.0.1', port: 0 })
}
