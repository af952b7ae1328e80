import { createHash, randomUUID } from 'node:crypto'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import type { Test } from 'tap'
import { uuidv7 } from 'uuidv7'
import { commitSpend, type CommitItem, type Settlement } from '../../../src/db/reservations/commit-spend.ts'
import type { Db } from '../../../src/db/pool/connection.ts'
import {
  extendReservations,
  type ExtendItem,
  type Extension,
} from '../../../src/db/reservations/extend-reservations.ts'
import { correctRecord, type Corrected } from '../../../src/db/costs/correct-record.ts'
import { recordSpend, type RecordItem, type Recording } from '../../../src/db/costs/record-spend.ts'
import { releaseSpend, type Release } from '../../../src/db/reservations/release-spend.ts'
import { reserveSpend, type Decision, type ReserveItem } from '../../../src/db/reservations/reserve-spend.ts'

/** The ids of the two cost records of a correction. */
type LineIds = { reversalId: string; successorId: string }

/** One connection with its own clock, through which tests call the functions of src/db. */
export type Session = {
  db: Db
  pool: pg.Pool
  /** Sets the clock of this connection; null: the real time. */
  moveTo(at: string | null): Promise<void>
  reserve(...items: ReserveItem[]): Promise<Decision[]>
  extend(...items: ExtendItem[]): Promise<Extension[]>
  commit(...items: CommitItem[]): Promise<Settlement[]>
  release(...reservationIds: string[]): Promise<Release[]>
  record(...items: RecordItem[]): Promise<Recording>
  /** Corrects a cost record to another cost in USD. */
  correct(costRecordId: string, costUsd: string, ids?: LineIds): Promise<Corrected>
}

/** Opens a connection that stays until `t` is done. */
export function openSession(t: Pick<Test, 'teardown'>, databaseUrl: string): Session {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1, idleTimeoutMillis: 0 })
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })
  t.teardown(async () => {
    await db.destroy()
    // Kysely closes only a pool that it has used.
    if (!pool.ended) await pool.end()
  })
  return {
    db,
    pool,
    moveTo: async (at) => {
      await pool.query(`select set_config('purser.fake_now', $1, false)`, [at ?? ''])
    },
    reserve: (...items) => reserveSpend(db, items, 'enforce'),
    extend: (...items) => extendReservations(db, items, 'enforce'),
    commit: (...items) => commitSpend(db, items),
    release: (...ids) =>
      releaseSpend(
        db,
        ids.map((id) => ({ reservation_id: id, tenant_id: null, reason: null })),
      ),
    record: (...items) => recordSpend(db, items, { retentionDays: 90, imports: false }),
    correct: (costRecordId, costUsd, ids = { reversalId: uuidv7(), successorId: uuidv7() }) =>
      correctRecord(
        db,
        { principal: 'a test', ip: null },
        {
          costRecordId,
          tenantId: null,
          ...ids,
          measure: 'cost',
          cost_usd: costUsd,
          provider: null,
          model: null,
          reason: 'test',
        },
      ),
  }
}

/** A hold of `amountUsd` for ten minutes, all or nothing; its price does not matter. */
export function hold(tenantId: string, amountUsd: string, changes: Partial<ReserveItem> = {}): ReserveItem {
  return {
    reservation_id: uuidv7(),
    resource_type: 'llm',
    tenant_id: tenantId,
    user_id: null,
    conversation_id: null,
    path_id: null,
    labels: {},
    principal: 'test',
    idempotency_key: null,
    request_hash: hashOf(amountUsd),
    estimate: {},
    price_id: null,
    amount_usd: amountUsd,
    fixed_usd: '0',
    per_unit_usd: '0',
    caps_name: null,
    on_expiry: 'release',
    ttl_seconds: 600,
    is_free: false,
    ...changes,
  }
}

/** A commit of `costUsd`. */
export function booking(reservationId: string, costUsd: string, changes: Partial<CommitItem> = {}): CommitItem {
  return {
    reservation_id: reservationId,
    tenant_id: null,
    commit_hash: hashOf(costUsd),
    cost_record_id: randomUUID(),
    reversal_id: randomUUID(),
    measure: 'cost',
    cost_usd: costUsd,
    ...changes,
  }
}

/** A direct record of `costUsd`, now. */
export function spending(tenantId: string, costUsd: string, changes: Partial<RecordItem> = {}): RecordItem {
  const id = uuidv7()
  return {
    cost_record_id: id,
    resource_type: 'llm',
    tenant_id: tenantId,
    user_id: null,
    conversation_id: null,
    path_id: null,
    labels: {},
    principal: 'test',
    idempotency_key: id,
    request_hash: hashOf(costUsd),
    occurred_at: null,
    measure: 'cost',
    cost_usd: costUsd,
    ...changes,
  }
}

/** The hash of a request with this meaning and spelling. */
export const hashOfSaid = (said: string, words: string) => `\\x02${hashOf(said).slice(2, 34)}${hashOf(words).slice(2)}`

/** A text in place of a request's hash: equal for equal texts. */
export function hashOf(text: string): string {
  return `\\x${createHash('sha256').update(text).digest('hex')}`
}
