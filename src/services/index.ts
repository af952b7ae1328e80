import type { PriceCache } from '../cache/prices.ts'
import type { StatusCache } from '../cache/quota-status.ts'
import type { SharedCache } from '../cache/shared.ts'
import type { Enforcement } from '../config.ts'
import { findKeyOwner } from '../db/api-keys.ts'
import type { DatabaseClock } from '../db/clock.ts'
import { commitSpend, type CommitItem } from '../db/commit-spend.ts'
import type { Db } from '../db/connection.ts'
import { toProblem } from '../db/faults.ts'
import { groupCommit } from '../db/group-commit.ts'
import { releaseSpend, type ReleaseItem } from '../db/release-spend.ts'
import { reserveSpend, type ReserveItem } from '../db/reserve-spend.ts'
import { inBatch, joinBatch } from '../telemetry/spans.ts'
import { createKey, hashKey, listKeys, revokeKey } from './api-keys.ts'
import { commit } from './commit.ts'
import { listCostRecords } from './cost-records.ts'
import { readCosts } from './costs.ts'
import { estimate } from './estimate.ts'
import { syncPrices, type PriceSyncDeps } from './price-sync.ts'
import { listE2bPrices, listModelPrices, publishE2bPrice, publishModelPrice } from './pricing.ts'
import type { Principal } from './principal.ts'
import { quotaStatus } from './quota-status.ts'
import { listQuotas, setQuota } from './quotas.ts'
import { readiness } from './readiness.ts'
import { readReservation } from './read-reservation.ts'
import { release } from './release.ts'
import { reserve } from './reserve.ts'

export type ServiceDeps = {
  db: Db
  clock: DatabaseClock
  prices: PriceCache
  shared: SharedCache
  status: StatusCache
  enforcement: Enforcement
  priceFeed?: PriceSyncDeps['priceFeed']
}

/** The use cases, each with what it needs; decisions of the same kind that wait together share a transaction. */
export function createServices(deps: ServiceDeps) {
  const { db, clock, status, enforcement } = deps

  // After a refusal the next one is likely: in a storm of refusals a look comes before any write.
  let refusing = false
  const decide = groupCommit({
    run: async (items: ReserveItem[]) => {
      const decisions = await inBatch(items, () => reserveSpend(db, items, enforcement, refusing))
      refusing = decisions.some(({ outcome }) => 'refused' in outcome)
      clock.observe(decisions[0]!.now)
      status.dropTouched(items)
      return decisions
    },
    keyOf: ({ principal, idempotency_key: key }) => (key === null ? null : `${principal}\u0000${key}`),
  })
  const settle = groupCommit({
    run: async (items: CommitItem[]) => {
      const settlements = await inBatch(items, () => commitSpend(db, items))
      clock.observe(settlements[0]!.now)
      status.dropTouched(settlements.flatMap(({ outcome }) => ('committed' in outcome ? [outcome.committed] : [])))
      return settlements
    },
    keyOf: ({ reservation_id: id }) => id,
  })
  const giveBack = groupCommit({
    run: async (items: ReleaseItem[]) => {
      const releases = await inBatch(items, () => releaseSpend(db, items))
      status.dropTouched(releases.flatMap((release) => ('settled' in release ? [release.settled] : [])))
      return releases
    },
    keyOf: ({ reservation_id: id }) => id,
  })

  return {
    reserve: (principal: Principal, ...request: Tail<typeof reserve>) =>
      reserve({ ...deps, decide: (item) => decide(joinBatch(item)) }, principal, ...request),
    commit: (principal: Principal, ...request: Tail<typeof commit>) =>
      commit({ settle: (item) => settle(joinBatch(item)) }, principal, ...request),
    release: (principal: Principal, ...request: Tail<typeof release>) =>
      release({ giveBack: (item) => giveBack(joinBatch(item)) }, principal, ...request),
    readReservation: (principal: Principal, id: string) => readReservation(deps, principal, id),
    estimate: (body: Parameters<typeof estimate>[1]) => estimate(deps, body),
    listCostRecords: (principal: Principal, ...request: Tail<typeof listCostRecords>) =>
      listCostRecords(deps, principal, ...request),
    readCosts: (principal: Principal, ...request: Tail<typeof readCosts>) => readCosts(deps, principal, ...request),
    setQuota: (body: Parameters<typeof setQuota>[1]) => setQuota(deps, body),
    listQuotas: (principal: Principal, ...request: Tail<typeof listQuotas>) => listQuotas(deps, principal, ...request),
    quotaStatus: (principal: Principal, ...request: Tail<typeof quotaStatus>) =>
      quotaStatus(deps, principal, ...request),
    listModelPrices: (...request: Rest<typeof listModelPrices>) => listModelPrices(deps, ...request),
    publishModelPrice: (...request: Rest<typeof publishModelPrice>) => publishModelPrice(deps, ...request),
    listE2bPrices: (...request: Rest<typeof listE2bPrices>) => listE2bPrices(deps, ...request),
    publishE2bPrice: (...request: Rest<typeof publishE2bPrice>) => publishE2bPrice(deps, ...request),
    syncPrices: (...request: Rest<typeof syncPrices>) => syncPrices(deps, ...request),
    createKey: (body: Parameters<typeof createKey>[1]) => createKey(deps, body),
    listKeys: (afterId: string | null, limit: number) => listKeys(deps, afterId, limit),
    revokeKey: (keyId: string) => revokeKey(deps, keyId),
    readiness: () => readiness(deps),
    hashKey,
    findPrincipal: async (keyHash: string): Promise<Principal | null> => {
      try {
        const owner = await findKeyOwner(db, keyHash)
        return owner === null ? null : { id: `key:${owner.keyId}`, role: owner.role, tenantId: owner.tenantId }
      } catch (error) {
        throw toProblem(error)
      }
    },
  }
}

export type Services = ReturnType<typeof createServices>

/** The parameters of a use case behind its dependencies. */
type Rest<UseCase extends (...all: never[]) => unknown> =
  Parameters<UseCase> extends [unknown, ...infer Others] ? Others : never

/** The parameters of a use case behind its dependencies and the principal. */
type Tail<UseCase extends (...all: never[]) => unknown> =
  Parameters<UseCase> extends [unknown, unknown, ...infer Rest] ? Rest : never
