import { sql } from 'kysely'
import { readBalances, type Balance, type BalanceColumns } from '../quotas/balances.ts'
import { balancesOfItems, scopeArguments, scopesOf, type Places } from '../pool/batch-scopes.ts'
import { arrayText, compositeArrayText } from '../pool/composite.ts'
import type { Db } from '../pool/connection.ts'
import type { StoredReservation } from './reservation.ts'

/** One item for reserve_spend(), named as the SQL type reserve_item and the function's other arguments; amounts as decimal text. */
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
  /** The model that the requested name means now; left out if the caller gives the amount. */
  priced_model?: string
  /** The rate card charges nothing, so no quota refuses the item. */
  is_free: boolean
}

/** The columns in the order of the SQL type reserve_item. */
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

/** A balance when one item was decided: its index in the batch's list of balances, and the amounts at that moment. */
export type BalanceThen = [place: number, spentUsd: string, reservedUsd: string]

export type Granted = { granted: string; units: number | null; warned: BalanceThen[] | null }
export type Refusal = { largest_allowed_usd: string; violations: BalanceThen[] }

type Outcome = Granted | { refused: Refusal } | { replayed: StoredReservation } | { mismatch: true }

/**
 * The decision about one item. `contended`: other instances made decisions at the same time. `quotas` are the balances that
 * apply to the item and `all` those of the whole batch, with their amounts after the batch.
 */
export type Decision = { outcome: Outcome; now: Date; contended: boolean; quotas: Balance[]; all: Balance[] }

type Answer = Places & {
  now: string
  contended: boolean
  ids: number[]
  balances: BalanceColumns
  /** Null if every item is granted with the amount it asked for. */
  outcomes: Outcome[] | null
}

/**
 * Decides a batch of 1 to 500 items in one round trip, in order. decisions[i] is for items[i].
 *
 * @param checkFirst first refuse, without a write, each item that would not fit even alone; these are then decided out of
 * order. Use it if refusals are likely.
 * @throws Postgres errors unchanged; nothing is decided then.
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
