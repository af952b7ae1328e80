import { sql } from 'kysely'
import { readBalances, type Balance, type BalanceColumns } from '../quotas/balances.ts'
import type { Db } from '../pool/connection.ts'
import type { StoredReservation } from './reservation.ts'

/** Why a usage could not be read, and the numbers and words of the provider's object (null if it was too large to keep). */
export type UnreadableUsage = {
  reasons: { pointer: string; message: string }[]
  provider_usage: Record<string, unknown> | null
}

/** One item for commit_spend(), with the field names of the SQL type commit_item; amounts as decimal text. */
export type CommitItem = {
  reservation_id: string
  /** The tenant that the principal is bound to; null if it is bound to none. */
  tenant_id: string | null
  /** bytea in Postgres's hexadecimal form. */
  commit_hash: string
  cost_record_id: string
  reversal_id: string
  /** `reserved`: the reserved amount is booked and marked as estimated. */
  measure: 'tokens' | 'seconds' | 'cost' | 'reserved'
  usage?: Record<string, unknown>
  /** With `reserved`: the usage that could not be read, which the cost record keeps. Left out if there was no usage. */
  unreadable_usage?: UnreadableUsage
  seconds?: string
  cost_usd?: string
  provider?: string | undefined
  model?: string | undefined
  sandbox_id?: string | null | undefined
  /** Instants are in the form that readInstant() returns. */
  call?: { started_at?: string; ended_at?: string; [other: string]: unknown } | undefined
  execution?: Record<string, unknown> | undefined
  resources?: Record<string, unknown> | undefined
}

type Outcome =
  | { committed: StoredReservation; quota_period_ids: number[] }
  | { conflict: 'committed' }
  | { unknown: true }
  | { unfit: 'tokens' | 'seconds' | 'model' }

/** The result of one item. `contended`: other instances made decisions at the same time. */
export type Settlement = { outcome: Outcome; quotas: Balance[]; now: Date; contended: boolean }

/**
 * Matches what JSON allows and jsonb rejects: U+0000, and an unpaired surrogate, which JSON.stringify() always escapes.
 * Also matches an escaped backslash, so that the characters after it are not mistaken for an escape.
 */
const ESCAPES = /\\(?:\\|u0000|ud[89a-f][0-9a-f]{2})/g

/**
 * Books a batch of 1 to 500 commits in order, in one round trip. settlements[i] is for items[i].
 *
 * A character that Postgres cannot store is stored as U+FFFD, because it must not prevent a cost from being booked.
 *
 * @param silent emit no quota events, because enforcement is off.
 * @throws Postgres errors unchanged; nothing is booked then.
 */
export async function commitSpend(db: Db, items: CommitItem[], silent = false): Promise<Settlement[]> {
  const text = JSON.stringify(items)
  const storable = text.includes('\\u')
    ? text.replace(ESCAPES, (escape) => (escape === '\\\\' ? escape : '\\ufffd'))
    : text
  const { rows } = await sql<{
    answer: { now: string; contended: boolean; balances: BalanceColumns; outcomes: Outcome[] }
  }>`
    select copilot_internal.commit_spend(${storable}::json, ${silent}) as answer`.execute(db)
  const { answer } = rows[0]!
  const now = new Date(answer.now)
  const balances = readBalances(answer.balances)
  return answer.outcomes.map((outcome) => ({
    outcome,
    now,
    contended: answer.contended,
    quotas: 'committed' in outcome ? outcome.quota_period_ids.flatMap((id) => balances.get(id) ?? []) : [],
  }))
}
