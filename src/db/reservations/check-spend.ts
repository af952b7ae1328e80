import { sql } from 'kysely'
import { listBalances, type Balance, type BalanceColumns } from '../quotas/balances.ts'
import { balancesOfItems, scopeArguments, scopesOf, type Places } from '../pool/batch-scopes.ts'
import { arrayText } from '../pool/composite.ts'
import type { Db } from '../pool/connection.ts'
import type { Granted, Refusal, ReserveItem } from './reserve-spend.ts'

/** What reserve_spend() would answer now, and the balances that apply, as this check read them. */
export type Check = {
  outcome: Granted | { refused: Refusal }
  now: Date
  quotas: Balance[]
  all: Balance[]
  /** The smallest room over the enforced balances, in USD as decimal text; null if none is enforced. */
  largestAllowedUsd: string | null
}

type Answer = Places & {
  now: string
  balances: BalanceColumns
  outcomes: ({ largest_allowed_usd: string | null } & Check['outcome'])[]
}

/**
 * Asks what reserve_spend() would answer to each of 1 to 500 items if it were the only one. One round trip; writes and
 * locks nothing. checks[i] is for items[i].
 */
export async function checkSpend(db: Db, items: ReserveItem[], enforcement: string): Promise<Check[]> {
  const scopes = scopesOf(items)
  const { rows } = await sql<{ answer: Answer }>`select copilot_internal.check_spend(
    ${scopeArguments(scopes)}, ${arrayText(items.map((item) => item.amount_usd))}::numeric[], ${arrayText(scopes.ofItems.flat())}::integer[],
    ${arrayText(items.map((item) => item.fixed_usd))}::numeric[], ${arrayText(items.map((item) => item.per_unit_usd))}::numeric[],
    ${arrayText(items.map((item) => item.is_free))}::boolean[], ${enforcement}) as answer`.execute(db)
  const { answer } = rows[0]!
  const now = new Date(answer.now)
  const all = listBalances(answer.balances)
  const quotas = balancesOfItems(scopes, answer, all)
  return answer.outcomes.map(({ largest_allowed_usd: largestAllowedUsd, ...outcome }, i) => ({
    outcome,
    now,
    quotas: quotas[i]!,
    all,
    largestAllowedUsd,
  }))
}
