import type { Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import { openPriceCache } from '../../src/cache/prices.ts'
import { openStatusCache } from '../../src/cache/quota-status.ts'
import { openSharedCache } from '../../src/cache/shared.ts'
import { DatabaseClock, readClock } from '../../src/db/clock.ts'
import { connect } from '../../src/db/connection.ts'
import { bootstrapAdminKey } from '../../src/services/api-keys.ts'
import { openTargets } from '../../src/delivery/targets.ts'
import { createServices } from '../../src/services/index.ts'
import { ADMIN_KEY } from '../helpers/service.ts'

/**
 * A whole service in this process, with a pool and queues of its own, that listens on a port of its own; many of them
 * take less memory than as many processes, and share one clock. Stopped when `t` is done.
 *
 * @returns its URL. The admin key is ADMIN_KEY.
 */
export async function openInstance(t: Pick<Test, 'teardown'>, databaseUrl: string): Promise<string> {
  const db = connect(databaseUrl, { connectionsMax: 4 })
  const shared = openSharedCache(undefined, databaseUrl, () => {})
  await bootstrapAdminKey({ db }, ADMIN_KEY)
  const unlimited = 100_000_000
  const app = await buildApp({
    services: createServices({
      db,
      clock: new DatabaseClock(await readClock(db)),
      prices: openPriceCache(db, shared),
      shared,
      status: openStatusCache(shared),
      enforcement: 'enforce',
      tokens: null,
      retention: { db, archiveDir: '/nowhere', retentionDays: 90, archiveYears: 7, reservationDays: 30, eventDays: 90 },
      targets: openTargets(undefined),
      hasMail: false,
    }),
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
