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
  /** Connections for slow statements, which may take minutes: retention, rollups and integrity checks. */
  maintenanceDb: Db
  prices: PriceCache
  shared: SharedCache
  /** How tokens are verified. If null, only API keys are accepted. */
  tokens: TokenSettings | null
  priceFeed?: PriceSyncDeps['priceFeed']
  retention: RetentionSettings
  targets: EndpointDeps['targets']
  hasMail: EndpointDeps['hasMail']
}

/** The dependencies of all use cases together. Each use case declares only what it needs. */
export type Deps = ReturnType<typeof openDeps>

/** Opens the queues and caches that all use cases share, and returns them together with what is already open. */
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
