import { countHere, countTogether } from '../cache/counters.ts'
import type { PriceCache } from '../cache/prices.ts'
import { openHoldersCache } from '../cache/holders.ts'
import type { StatusCache } from '../cache/quota-status.ts'
import type { SharedCache } from '../cache/shared.ts'
import type { Enforcement } from '../config.ts'
import { findKeyOwner } from '../db/keys/api-keys.ts'
import type { DatabaseClock } from '../db/pool/clock.ts'
import { checkSpend } from '../db/reservations/check-spend.ts'
import { commitSpend, type CommitItem } from '../db/reservations/commit-spend.ts'
import type { Db } from '../db/pool/connection.ts'
import { tellMissingPrices, emitUnreadUsage, type MissingPrice, type UnreadField } from '../db/alerts/events.ts'
import { extendReservations, type ExtendItem } from '../db/reservations/extend-reservations.ts'
import { groupCommit } from '../db/pool/group-commit.ts'
import { keepRetention, type Retention } from './archives/retention.ts'
import { rollUp } from './costs/roll-up.ts'
import { prepareCostPartitions } from '../db/costs/rollups.ts'
import { findSubjects } from '../db/reservations/reservations.ts'
import { releaseSpend, type ReleaseItem } from '../db/reservations/release-spend.ts'
import { reserveSpend, type ReserveItem } from '../db/reservations/reserve-spend.ts'
import type { ReserveBody } from '../schemas/reservations.ts'
import { inBatch, joinBatch } from '../telemetry/spans.ts'
import { createKey, hashKey, listKeys, revokeKey, rotateKey } from './keys/api-keys.ts'
import { check } from './reservations/check.ts'
import { listAudit } from './keys/audit.ts'
import type { Actor } from '../db/keys/audit.ts'
import { commit } from './reservations/commit.ts'
import { correct } from './costs/correct.ts'
import { listCostRecords } from './costs/cost-records.ts'
import { readCosts } from './costs/costs.ts'
import { exportCosts } from './costs/export-costs.ts'
import { listDeliveries, redeliver, testEndpoint } from './alerts/deliveries.ts'
import { estimate } from './prices/estimate.ts'
import { listEvents } from './alerts/events.ts'
import { extend } from './reservations/extend.ts'
import { ENDED_MS, giveBackLost, giveUp } from './reservations/release-abandoned.ts'
import { listReservations } from './reservations/list-reservations.ts'
import { integrityReader, watchIntegrity } from './integrity.ts'
import { keepPricesCurrent, syncPrices, type PriceSyncDeps } from './prices/price-sync.ts'
import { listE2bPrices, listModelPrices, publishE2bPrice, publishModelPrice } from './prices/pricing.ts'
import type { Principal } from './keys/principal.ts'
import { quotaStatus } from './quotas/quota-status.ts'
import { deleteQuotaDefault, giveDefaults, listQuotaDefaults, putQuotaDefault } from './quotas/quota-defaults.ts'
import { quotaHistory } from './quotas/quota-history.ts'
import { deleteQuota, listQuotas, patchQuota, readQuota, setQuota, setQuotas } from './quotas/quotas.ts'
import { readiness } from './readiness.ts'
import { readReservation } from './reservations/read-reservation.ts'
import { record } from './costs/record.ts'
import { release } from './reservations/release.ts'
import { reserve } from './reservations/reserve.ts'
import {
  createEndpoint,
  deleteEndpoint,
  listEndpoints,
  patchEndpoint,
  readEndpoint,
  rotateSecret,
  type EndpointDeps,
} from './alerts/webhook-endpoints.ts'
import { unreadEmitter } from './costs/unread-fields.ts'
import { watchCosts } from './costs/watch-costs.ts'
import { isToken, tokenReader, type TokenSettings } from './keys/tokens.ts'

export type ServiceDeps = {
  db: Db
  /** Connections that reservations and reads never take: for keys, commits, releases and readiness. */
  keptDb: Db
  clock: DatabaseClock
  prices: PriceCache
  shared: SharedCache
  status: StatusCache
  enforcement: Enforcement
  /** Null: keys only. */
  tokens: TokenSettings | null
  priceFeed?: PriceSyncDeps['priceFeed']
  retention: Retention
  targets: EndpointDeps['targets']
  hasMail: EndpointDeps['hasMail']
}

/** Extensions are decided one after the other: more of them would keep the balances that some of them lock for too long. */
const EXTENDED_MAX = 50

/** What settles a hold may wait longer than what makes one: its money is spent, and the hold binds others. */
const SETTLING_QUEUE_MS = 1_500

/** Longest wait for the provider and model of a reservation. The rest of the deadline is left for the commit itself. */
const SUBJECT_WAIT_MS = 600

/** Longest time that a booked commit waits for its usage.unread event. */
const EMIT_WAIT_MS = 200

/** So many months have their partitions before they begin. */
const PARTITIONS_AHEAD_MONTHS = 3

/** The use cases, each with what it needs; decisions of the same kind that wait together share a transaction. */
export function createServices(given: ServiceDeps) {
  const { db, keptDb, clock, status, enforcement } = given
  // Names without a price that come at once are told together: a flood of them takes one connection from reservations.
  const tellMissingPrice = groupCommit({
    run: async (missing: MissingPrice[]) => {
      await tellMissingPrices(db, missing)
      return missing
    },
    keyOf: () => null,
  })
  const emitUnread = unreadEmitter(
    groupCommit({
      run: async (fields: UnreadField[]) => {
        await emitUnreadUsage(db, fields)
        return fields
      },
      keyOf: () => null,
      waitMsMax: EMIT_WAIT_MS,
    }),
  )
  const deps = { ...given, tellMissingPrice, emitUnread }
  const silent = enforcement === 'off'
  const holders = openHoldersCache(db)
  const readToken = deps.tokens === null ? null : tokenReader(deps.tokens)

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
    keyOf: ({ principal, tenant_id: tenantId, idempotency_key: key }) =>
      key === null ? null : `${principal}\u0000${tenantId}\u0000${key}`,
    lockOf: ({ tenant_id: tenantId }) => tenantId,
    isContended: ({ crowded }) => crowded,
    // With a key its caller will ask for it again; without one nobody ever does. A repeat without a key is of its own first try.
    onLate: (item, { outcome }) => {
      if (item.idempotency_key !== null || !('granted' in outcome || 'replayed' in outcome)) return
      void giveBackLost(giveBack, item.reservation_id, 0)
    },
    onLost: (item) => {
      if (item.idempotency_key === null) void giveBackLost(giveBack, item.reservation_id, ENDED_MS)
    },
  })
  const settle = groupCommit({
    run: async (items: CommitItem[]) => {
      const settlements = await inBatch(items, () => commitSpend(keptDb, items, silent))
      clock.observe(settlements[0]!.now)
      status.dropTouched(settlements.flatMap(({ outcome }) => ('committed' in outcome ? [outcome.committed] : [])))
      return settlements
    },
    keyOf: ({ reservation_id: id }) => id,
    isContended: ({ crowded }) => crowded,
    queueMsMax: SETTLING_QUEUE_MS,
  })
  // The reservation's provider and model decide how its usage is read. Commits that come at once share one query.
  const findSubject = groupCommit({
    run: (ids: string[]) => findSubjects(keptDb, ids),
    keyOf: () => null,
    waitMsMax: SUBJECT_WAIT_MS,
  })
  const giveBack = groupCommit({
    run: async (items: ReleaseItem[]) => {
      const releases = await inBatch(items, () => releaseSpend(keptDb, items, silent))
      status.dropTouched(releases.flatMap((release) => ('settled' in release ? [release.settled] : [])))
      return releases
    },
    keyOf: ({ reservation_id: id }) => id,
    queueMsMax: SETTLING_QUEUE_MS,
  })
  const prolong = groupCommit({
    run: async (items: ExtendItem[]) => {
      const extensions = await inBatch(items, () => extendReservations(db, items, enforcement))
      for (const extension of extensions) if ('now' in extension) clock.observe(extension.now)
      status.dropTouched(extensions.flatMap((extension) => ('extended' in extension ? [extension.extended] : [])))
      return extensions
    },
    keyOf: ({ reservation_id: id }) => id,
    itemsMax: EXTENDED_MAX,
  })
  const look = groupCommit({
    run: (items: ReserveItem[]) => inBatch(items, () => checkSpend(db, items, enforcement)),
    keyOf: () => null,
  })

  return {
    reserve: (principal: Principal, body: ReserveBody, key: string | null, isGone: () => boolean) =>
      reserve({ ...deps, decide: (item) => decide(joinBatch(item), isGone) }, principal, body, key),
    commit: (principal: Principal, ...request: Tail<typeof commit>) =>
      commit({ ...deps, findSubject, settle: (item) => settle(joinBatch(item)) }, principal, ...request),
    release: (principal: Principal, ...request: Tail<typeof release>) =>
      release({ giveBack: (item) => giveBack(joinBatch(item)) }, principal, ...request),
    giveUp: (principal: Principal, ...request: Tail<typeof giveUp>) =>
      giveUp({ giveBack: (item) => giveBack(joinBatch(item)) }, principal, ...request),
    extend: (principal: Principal, ...request: Tail<typeof extend>) =>
      extend({ ...deps, prolong: (item) => prolong(joinBatch(item)) }, principal, ...request),
    check: (principal: Principal, ...request: Tail<typeof check>) =>
      check({ ...deps, look: (item) => look(joinBatch(item)) }, principal, ...request),
    listReservations: (principal: Principal, ...request: Tail<typeof listReservations>) =>
      listReservations(deps, principal, ...request),
    readReservation: (principal: Principal, id: string) => readReservation(deps, principal, id),
    estimate: (body: Parameters<typeof estimate>[1]) => estimate(deps, body),
    listEvents: (principal: Principal, ...request: Tail<typeof listEvents>) => listEvents(deps, principal, ...request),
    record: (principal: Principal, body: Parameters<typeof record>[2]) => record(deps, principal, body),
    correct: (...request: Rest<typeof correct>) => correct(deps, ...request),
    listCostRecords: (principal: Principal, ...request: Tail<typeof listCostRecords>) =>
      listCostRecords(deps, principal, ...request),
    exportCosts: (principal: Principal, ...request: Tail<typeof exportCosts>) =>
      exportCosts(deps, principal, ...request),
    readCosts: (principal: Principal, ...request: Tail<typeof readCosts>) => readCosts(deps, principal, ...request),
    setQuota: (actor: Actor, ...request: Tail<typeof setQuota>) => setQuota(deps, actor, ...request),
    setQuotas: (actor: Actor, ...request: Tail<typeof setQuotas>) => setQuotas(deps, actor, ...request),
    readQuota: (principal: Principal, quotaId: number) => readQuota(deps, principal, quotaId),
    patchQuota: (actor: Actor, ...request: Tail<typeof patchQuota>) => patchQuota(deps, actor, ...request),
    deleteQuota: (actor: Actor, quotaId: number) => deleteQuota(deps, actor, quotaId),
    quotaHistory: (principal: Principal, ...request: Tail<typeof quotaHistory>) =>
      quotaHistory(deps, principal, ...request),
    listQuotas: (principal: Principal, ...request: Tail<typeof listQuotas>) => listQuotas(deps, principal, ...request),
    quotaStatus: (principal: Principal, ...request: Tail<typeof quotaStatus>) =>
      quotaStatus({ db, status, holders }, principal, ...request),
    listQuotaDefaults: (...request: Rest<typeof listQuotaDefaults>) => listQuotaDefaults(deps, ...request),
    putQuotaDefault: (actor: Actor, ...request: Tail<typeof putQuotaDefault>) =>
      putQuotaDefault(deps, actor, ...request),
    giveDefaults: () => giveDefaults(deps),
    deleteQuotaDefault: (actor: Actor, ...request: Tail<typeof deleteQuotaDefault>) =>
      deleteQuotaDefault(deps, actor, ...request),
    listAudit: (...request: Rest<typeof listAudit>) => listAudit(deps, ...request),
    createKey: (actor: Actor, ...request: Tail<typeof createKey>) => createKey(deps, actor, ...request),
    listModelPrices: (...request: Rest<typeof listModelPrices>) => listModelPrices(deps, ...request),
    publishModelPrice: (...request: Rest<typeof publishModelPrice>) => publishModelPrice(deps, ...request),
    listE2bPrices: (...request: Rest<typeof listE2bPrices>) => listE2bPrices(deps, ...request),
    publishE2bPrice: (...request: Rest<typeof publishE2bPrice>) => publishE2bPrice(deps, ...request),
    syncPrices: (...request: Rest<typeof syncPrices>) => syncPrices(deps, ...request),
    keepPricesCurrent: () => keepPricesCurrent(deps),
    listKeys: (afterId: string | null, limit: number) => listKeys(deps, afterId, limit),
    watchIntegrity: () => watchIntegrity(deps.retention),
    watchCosts: () => watchCosts(deps.retention),
    readIntegrity: integrityReader(deps.retention),
    revokeKey: (actor: Actor, keyId: string) => revokeKey(deps, actor, keyId),
    rotateKey: (actor: Actor, ...request: Tail<typeof rotateKey>) => rotateKey(deps, actor, ...request),
    keepRetention: (signal: AbortSignal) => keepRetention(deps.retention, signal),
    rollUp: (signal: AbortSignal) => rollUp(deps.retention, signal),
    preparePartitions: () => prepareCostPartitions(db, PARTITIONS_AHEAD_MONTHS),
    listEndpoints: (...request: Rest<typeof listEndpoints>) => listEndpoints(deps, ...request),
    readEndpoint: (...request: Rest<typeof readEndpoint>) => readEndpoint(deps, ...request),
    createEndpoint: (...request: Rest<typeof createEndpoint>) => createEndpoint(deps, ...request),
    patchEndpoint: (...request: Rest<typeof patchEndpoint>) => patchEndpoint(deps, ...request),
    deleteEndpoint: (...request: Rest<typeof deleteEndpoint>) => deleteEndpoint(deps, ...request),
    rotateSecret: (...request: Rest<typeof rotateSecret>) => rotateSecret(deps, ...request),
    testEndpoint: (...request: Rest<typeof testEndpoint>) => testEndpoint(deps, ...request),
    listDeliveries: (...request: Rest<typeof listDeliveries>) => listDeliveries(deps, ...request),
    redeliver: (...request: Rest<typeof redeliver>) => redeliver(deps, ...request),
    readiness: () => readiness({ db: keptDb, shared: deps.shared }),
    hashKey,
    counters: { here: countHere(), together: countTogether(deps.shared) },
    /** Whose key or token this is; null where it is not valid. A key is looked up in its turn, a token needs no Postgres. */
    findPrincipal: async (
      bearer: string,
      inTurn: <Found>(lookUp: () => Promise<Found>) => Promise<Found>,
    ): Promise<Principal | null> => {
      if (readToken !== null && isToken(bearer)) return readToken(bearer)
      const owner = await inTurn(() => findKeyOwner(keptDb, hashKey(bearer)))
      if (owner === null) return null
      const { keyId, role, tenantId, recordDayMaxUsd } = owner
      return { id: `key:${keyId}`, role, tenantId, recordDayMaxUsd }
    },
  }
}

export type Services = ReturnType<typeof createServices>

/** The parameters of a use case behind its dependencies and the principal or actor. */
type Tail<UseCase extends (...all: never[]) => unknown> =
  Parameters<UseCase> extends [unknown, unknown, ...infer Rest] ? Rest : never

/** The parameters of a use case behind its dependencies. */
type Rest<UseCase extends (...all: never[]) => unknown> =
  Parameters<UseCase> extends [unknown, ...infer Others] ? Others : never
