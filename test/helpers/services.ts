import { openPriceCache } from '../../src/cache/prices.ts'
import { openStatusCache } from '../../src/cache/quota-status.ts'
import type { SharedCache } from '../../src/cache/shared.ts'
import { openClock } from '../../src/db/pool/clock.ts'
import type { Db } from '../../src/db/pool/connection.ts'
import { openTargets } from '../../src/delivery/targets.ts'
import { createServices, type ServiceDeps, type Services } from '../../src/services/index.ts'

/** The use cases in this process, with the settings of a start without any. */
export async function openServices(
  db: Db,
  shared: SharedCache,
  settings: Pick<ServiceDeps, 'priceFeed'> = {},
): Promise<Services> {
  return createServices({
    db,
    keptDb: db,
    clock: await openClock(db),
    prices: openPriceCache(db, shared),
    shared,
    status: openStatusCache(shared),
    enforcement: 'enforce',
    tokens: null,
    retention: { db, archiveDir: '/nowhere', retentionDays: 90, archiveYears: 7, reservationDays: 30, eventDays: 90 },
    targets: openTargets(undefined),
    hasMail: false,
    ...settings,
  })
}
