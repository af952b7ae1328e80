import { sql } from 'kysely'
import { balanceWith, readBalances, type Balance, type BalanceColumns } from './balances.ts'
import type { Db } from './connection.ts'
import type { Granted, Refusal, ReserveItem } from './reserve-spend.ts'

/** What a reservation would be answered, with its balances as that answer saw them. */
export type Check = {
  outcome: Granted | { refused: Refusal }
  now: Date
  all: Balance[]
  /** The least room over the enforced balances, USD as decimal text; null where none is enforced. */
  largestAllowedUsd: string | null
}

type Answer = {
  now: string
  ids: number[]
  balances: BalanceColumns
  spent: string[] | null
  reserved: string[] | null
  largest_allowed_usd: string | null
  outcome: Granted | { refused: Refusal }
}

/** Asks what reserve_spend() would answer to an item; holds nothing, and locks no balance. */
export async function checkSpend(db: Db, item: ReserveItem, enforcement: string): Promise<Check> {
  const { rows } = await sql<{ answer: Answer }>`select copilot_internal.check_spend(
    ${item.resource_type}, ${item.tenant_id}, ${item.user_id}, ${item.amount_usd}::numeric, ${item.fixed_usd}::numeric,
    ${item.per_unit_usd}::numeric, ${enforcement}) as answer`.execute(db)
  const { answer } = rows[0]!
  const byId = readBalances(answer.balances)
  const all = answer.ids.map((id, i) => balanceWith(byId.get(id)!, answer.spent![i]!, answer.reserved![i]!))
  return { outcome: answer.outcome, now: new Date(answer.now), all, largestAllowedUsd: answer.largest_allowed_usd }
}
