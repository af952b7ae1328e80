import { sql } from 'kysely'
import { readBalances, type Balance, type BalanceColumns } from '../quotas/balances.ts'
import { balancesOfItems, scopeArguments, scopesOf, type Places } from '../pool/batch-scopes.ts'
import { arrayText, compositeArrayText } from '../pool/composite.ts'
import type { Db } from '../pool/connection.ts'
import type { StoredReservation } from './reservation.ts'

/** One item for reserve_spend(), in the names of the SQL type reserve_item and its other arguments; amounts as decimal text. */
export type ReserveItem = {
  reservation_id: string
  resource_type: 'llm' | 'e2b'
  tenant_id: string
  user_id: string | null
  conversation_id: string | null
  path_id: string | null
  labels: Record<string, string>
  principal: string
  idempotency_key: string | null
  /** bytea in Postgres's hexadecimal form. */
  request_hash: string
  provider?: string | null
  model?: string | null
  service_tier?: string | null
  region?: string | null
  tier?: string | null
  vcpu?: string | null
  memory_mib?: number | null
  estimate: Record<string, unknown>
  price_id: number | null
  amount_usd: string
  fixed_usd: string
  per_unit_usd: string
  caps_name: string | null
  on_expiry: 'release' | 'charge'
  ttl_seconds: number
  ttl_beyond_units?: number
  /** The model that the name means now; null where the caller gives the amount. */
  priced_model?: string
  /** Its price card is free: no quota refuses it. */
  is_free: boolean
}

/** The order of the SQL type. */
const ITEM_COLUMNS = [
  'reservation_id',
  'resource_type',
  'tenant_id',
  'user_id',
  'conversation_id',
  'path_id',
  'labels',
  'principal',
  'idempotency_key',
  'request_hash',
  'provider',
  'model',
  'service_tier',
  'region',
  'tier',
  'vcpu',
  'memory_mib',
  'estimate',
  'price_id',
  'fixed_usd',
  'per_unit_usd',
  'caps_name',
  'on_expiry',
  'ttl_seconds',
  'ttl_beyond_units',
] as const satisfies (keyof ReserveItem)[]

/** A balance at the moment of a decision about one item: its place among the batch's balances, spent and reserved then. */
export type BalanceThen = [place: number, spentUsd: string, reservedUsd: string]

export type Granted = { granted: string; units: number | null; warned: BalanceThen[] | null }
export type Refusal = { largest_allowed_usd: string; violations: BalanceThen[] }

type Outcome = Granted | { refused: Refusal } | { replayed: StoredReservation } | { mismatch: true }

/** What was decided about one item, whether other instances decided meanwhile, and the balances that apply to it as they stand after the batch. */
export type Decision = { outcome: Outcome; now: Date; contended: boolean; quotas: Balance[]; all: Balance[] }

type Answer = Places & {
  now: string
  contended: boolean
  ids: number[]
  balances: BalanceColumns
  /** Null where each item is granted as asked. */
  outcomes: Outcome[] | null
}

/**
 * Decides a batch of 1 to 500 items in one round trip, in order but for those that a look refuses; decisions[i] is for items[i].
 *
 * @param checkFirst where refusals are likely: what would not fit alone is refused first, which costs no write.
 * @throws errors of Postgres as they are; nothing is decided then.
 */
export async function reserveSpend(
  db: Db,
  items: ReserveItem[],
  enforcement: string,
  checkFirst = true,
): Promise<Decision[]> {
  const scopes = scopesOf(items)
  const { rows } = await sql<{ answer: Answer }>`select copilot_internal.reserve_spend(
    ${scopeArguments(scopes)}, ${arrayText(items.map((item) => item.amount_usd))}::numeric[],
    ${arrayText(scopes.ofItems.flat())}::integer[], ${compositeArrayText(items, ITEM_COLUMNS)}::copilot_internal.reserve_item[], ${enforcement}, ${checkFirst},
    ${arrayText(items.map((item) => item.priced_model ?? null))}::text[], ${arrayText(items.map((item) => item.is_free))}::boolean[]) as answer`.execute(
    db,
  )
  const { answer } = rows[0]!
  const now = new Date(answer.now)
  const balances = readBalances(answer.balances)
  const all = answer.ids.map((id) => balances.get(id)!)
  const quotas = balancesOfItems(scopes, answer, all)
  return items.map((item, i) => ({
    outcome: answer.outcomes === null ? { granted: item.amount_usd, units: null, warned: null } : answer.outcomes[i]!,
    now,
    contended: answer.contended,
    all,
    quotas: quotas[i]!,
  }))
}
