import { countHere, countTogether } from '../cache/counters.ts'
import { openHoldersCache } from '../cache/holders.ts'
import type { PriceCache } from '../cache/prices.ts'
import type { SharedCache } from '../cache/shared.ts'
import type { Db } from '../db/pool/connection.ts'
import type { EndpointDeps } from './alerts/webhook-endpoints.ts'
import type { RetentionSettings } from './archives/retention.ts'
import { unreadEmitter } from './costs/unread-fields.ts'
import { openAuthentication } from './keys/authentication.ts'
import type { TokenSettings } from './keys/tokens.ts'
import type { PriceSyncDeps } from './prices/price-sync.ts'
import { openQueues, type QueueDeps } from './queues.ts'

/** The connections, caches and settings that the process opens when it starts. */
export type OpenedDeps = QueueDeps & {
  /** Connections whose statements may take minutes: for retention, roll-ups, and integrity checks. */
  maintenanceDb: Db
  prices: PriceCache
  shared: SharedCache
  /** Null: tokens are not accepted, only API keys. */
  tokens: TokenSettings | null
  priceFeed?: PriceSyncDeps['priceFeed']
  retention: RetentionSettings
  targets: EndpointDeps['targets']
  hasMail: EndpointDeps['hasMail']
}

/** The dependencies of all use cases. Each use case declares the part that it needs. */
export type Deps = ReturnType<typeof openDeps>

/** Adds the queues and the caches that all use cases of the process share. */
export function openDeps(opened: OpenedDeps) {
  const queues = openQueues(opened)
  return {
    ...opened,
    queues,
    emitUnread: unreadEmitter(queues.emitUnreadField),
    holders: openHoldersCache(opened.db),
    counters: { here: countHere(), together: countTogether(opened.shared) },
    findPrincipal: openAuthentication(opened),
  }
}
