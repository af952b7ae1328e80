import { openPriceCache } from '../../src/cache/prices.ts'
import { openStatusCache } from '../../src/cache/quota-status.ts'
import type { SharedCache } from '../../src/cache/shared.ts'
import { openClock } from '../../src/db/pool/clock.ts'
import type { Db } from '../../src/db/pool/connection.ts'
import { openTargets } from '../../src/delivery/targets.ts'
import { openDeps, type Deps, type OpenedDeps } from '../../src/services/deps.ts'

/** The dependencies of use cases, in this process and with the default settings. */
export async function openTestDeps(
  db: Db,
  shared: SharedCache,
  settings: Pick<OpenedDeps, 'priceFeed'> = {},
): Promise<Deps> {
  return openDeps({
    db,
    settlementDb: db,
    maintenanceDb: db,
    clock: await openClock(db),
    prices: openPriceCache(db, shared),
    shared,
    status: openStatusCache(shared),
    enforcement: 'enforce',
    tokens: null,
    retention: { archiveDir: '/nowhere', retentionDays: 90, archiveYears: 7, reservationDays: 30, eventDays: 90 },
    targets: openTargets(undefined),
    hasMail: false,
    ...settings,
  })
}
