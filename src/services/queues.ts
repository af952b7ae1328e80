import type { StatusCache } from '../cache/quota-status.ts'
import type { Enforcement } from '../config.ts'
import { emitUnreadUsage, emitMissingPrices, type MissingPrice, type UnreadField } from '../db/alerts/events.ts'
import type { DatabaseClock } from '../db/pool/clock.ts'
import type { Db } from '../db/pool/connection.ts'
import { groupCommit, type Decide, type GroupCommitOptions } from '../db/pool/group-commit.ts'
import { checkSpend } from '../db/reservations/check-spend.ts'
import { commitSpend, type CommitItem } from '../db/reservations/commit-spend.ts'
import { extendReservations, type ExtendItem } from '../db/reservations/extend-reservations.ts'
import { releaseSpend, type ReleaseItem } from '../db/reservations/release-spend.ts'
import { findSubjects } from '../db/reservations/reservations.ts'
import { reserveSpend, type ReserveItem } from '../db/reservations/reserve-spend.ts'
import { inBatch, joinBatch } from '../telemetry/spans.ts'
import { releaseLost, STATEMENT_ENDED_MS } from './reservations/release-abandoned.ts'

export type QueueDeps = {
  db: Db
  /** Connections for commits, releases and API keys. Reservations and reads never use them, so they delay no commit. */
  settlementDb: Db
  clock: DatabaseClock
  status: StatusCache
  enforcement: Enforcement
}

export type Queues = ReturnType<typeof openQueues>

/** Postgres decides extensions one by one, and some lock balances. A larger batch would hold the locks for too long. */
const EXTENSIONS_MAX = 50

/**
 * Commits and releases may wait longer than reservations. The money of a commit is spent already, and an open hold takes room
 * from other callers.
 */
const SETTLEMENT_QUEUE_MS = 1_500

/** Longest wait of a commit for the provider and model of its reservation. The rest of its deadline is for booking. */
const SUBJECT_WAIT_MS = 600

/** Longest time that a booked commit waits for its usage.unread event. */
const EMIT_WAIT_MS = 200

/** Opens one queue for each kind of work. Requests of one kind that wait at the same moment share a transaction. */
export function openQueues({ db, settlementDb, clock, status, enforcement }: QueueDeps) {
  const isSilent = enforcement === 'off'

  // Releases holds whose answers were lost. This happens outside of any request, so these releases join no trace.
  const releaseUntraced = groupCommit({
    run: (items: ReleaseItem[]) =>
      inBatch(items, async () => {
        const releases = await releaseSpend(settlementDb, items, isSilent)
        status.dropTouched(releases.flatMap((release) => ('settled' in release ? [release.settled] : [])))
        return releases
      }),
    keyOf: ({ reservation_id: id }) => id,
    queueMsMax: SETTLEMENT_QUEUE_MS,
  })
  const release: typeof releaseUntraced = (item, isGone) => releaseUntraced(joinBatch(item), isGone)

  // After one refusal, another is likely. reserve_spend() then checks the balances before it writes anything.
  let lastRefused = false
  const reserve = tracedQueue({
    run: async (items: ReserveItem[]) => {
      const decisions = await reserveSpend(db, items, enforcement, lastRefused)
      lastRefused = decisions.some(({ outcome }) => 'refused' in outcome)
      clock.observe(decisions[0]!.now)
      status.dropTouched(items)
      return decisions
    },
    keyOf: ({ principal, tenant_id: tenantId, idempotency_key: key }) =>
      key === null ? null : `${principal}\u0000${tenantId}\u0000${key}`,
    lockOf: ({ tenant_id: tenantId }) => tenantId,
    isContended: ({ contended }) => contended,
    // A caller with a key will retry and find this hold. Without a key nobody can claim it, so release it.
    onLate: (item, { outcome }) => {
      if (item.idempotency_key !== null || !('granted' in outcome || 'replayed' in outcome)) return
      void releaseLost(releaseUntraced, item.reservation_id, 0)
    },
    onLost: (item) => {
      if (item.idempotency_key === null) void releaseLost(releaseUntraced, item.reservation_id, STATEMENT_ENDED_MS)
    },
  })

  const check = tracedQueue({
    run: (items: ReserveItem[]) => checkSpend(db, items, enforcement),
    keyOf: () => null,
  })

  const extend = tracedQueue({
    run: async (items: ExtendItem[]) => {
      const extensions = await extendReservations(db, items, enforcement)
      for (const extension of extensions) if ('now' in extension) clock.observe(extension.now)
      status.dropTouched(extensions.flatMap((extension) => ('extended' in extension ? [extension.extended] : [])))
      return extensions
    },
    keyOf: ({ reservation_id: id }) => id,
    itemsMax: EXTENSIONS_MAX,
  })

  const commit = tracedQueue({
    run: async (items: CommitItem[]) => {
      const settlements = await commitSpend(settlementDb, items, isSilent)
      clock.observe(settlements[0]!.now)
      status.dropTouched(settlements.flatMap(({ outcome }) => ('committed' in outcome ? [outcome.committed] : [])))
      return settlements
    },
    keyOf: ({ reservation_id: id }) => id,
    isContended: ({ contended }) => contended,
    queueMsMax: SETTLEMENT_QUEUE_MS,
  })

  /** Finds the provider and model of a reservation by its id. A commit needs both to read its usage. */
  const findSubject = groupCommit({
    run: (ids: string[]) => findSubjects(settlementDb, ids),
    keyOf: () => null,
    waitMsMax: SUBJECT_WAIT_MS,
  })

  // Many requests for models without a price cause many events. This queue uses one connection for them, so reservations
  // keep the others.
  const emitMissingPrice = groupCommit({
    run: async (missing: MissingPrice[]) => {
      await emitMissingPrices(db, missing)
      return missing
    },
    keyOf: () => null,
  })

  const emitUnreadField = groupCommit({
    run: async (fields: UnreadField[]) => {
      await emitUnreadUsage(db, fields)
      return fields
    },
    keyOf: () => null,
    waitMsMax: EMIT_WAIT_MS,
  })

  return { reserve, check, extend, commit, release, findSubject, emitMissingPrice, emitUnreadField }
}

/** Opens a queue whose batches are traced. The statement is in the trace of one request. The other requests link to it. */
function tracedQueue<Item extends object, Answer>(options: GroupCommitOptions<Item, Answer>): Decide<Item, Answer> {
  const queue = groupCommit({ ...options, run: (items) => inBatch(items, () => options.run(items)) })
  return (item, isGone) => queue(joinBatch(item), isGone)
}
