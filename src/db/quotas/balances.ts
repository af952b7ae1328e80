import { decimal, usdText } from '../../domain/money.ts'

/** Balances as change_balances() returns them: parallel arrays, amounts as decimal text; null if there are none. */
export type BalanceColumns = {
  quota_period_id: (number | null)[] | null
  quota_id: (number | null)[]
  scope: ('platform' | 'tenant' | 'user')[]
  tenant_id: (string | null)[]
  user_id: (string | null)[]
  period: string[]
  enforcement: ('enforce' | 'warn' | 'off')[]
  limit_usd: string[]
  spent_usd: string[]
  reserved_usd: string[]
  remaining_usd: string[]
  starts_at: string[]
  ends_at: string[]
}

/** One quota in one period: amounts in USD as decimal text, times in Postgres's text form. */
export type Balance = {
  /** Null in the answer of a check if the period has no row yet. */
  quotaPeriodId: number | null
  quotaId: number | null
  scope: 'platform' | 'tenant' | 'user'
  scopeId: string
  period: string
  enforcement: 'enforce' | 'warn' | 'off'
  limitUsd: string
  spentUsd: string
  reservedUsd: string
  /** What is left of the limit, at least 0. */
  remainingUsd: string
  startsAt: string
  endsAt: string
}

/** Reads the balances into a map by quota_period_id. */
export function readBalances(columns: BalanceColumns): Map<number | null, Balance> {
  return new Map(listBalances(columns).map((balance) => [balance.quotaPeriodId, balance]))
}

/** Reads the balances in their order. */
export function listBalances(columns: BalanceColumns): Balance[] {
  return (columns.quota_period_id ?? []).map((quotaPeriodId, i) => ({
    quotaPeriodId,
    quotaId: columns.quota_id[i] ?? null,
    scope: columns.scope[i]!,
    scopeId: columns.user_id[i] ?? columns.tenant_id[i] ?? 'platform',
    period: columns.period[i]!,
    enforcement: columns.enforcement[i]!,
    limitUsd: columns.limit_usd[i]!,
    spentUsd: columns.spent_usd[i]!,
    reservedUsd: columns.reserved_usd[i]!,
    remainingUsd: columns.remaining_usd[i]!,
    startsAt: columns.starts_at[i]!,
    endsAt: columns.ends_at[i]!,
  }))
}

/** Copies a balance with other amounts, and works out what is left. */
export function balanceWith(balance: Balance, spentUsd: string, reservedUsd: string): Balance {
  return { ...balance, spentUsd, reservedUsd, remainingUsd: remainingUsd(balance.limitUsd, spentUsd, reservedUsd) }
}

/** Works out what is left of a limit, at least 0. */
export function remainingUsd(limitUsd: string, spentUsd: string, reservedUsd: string): string {
  const room = decimal(limitUsd).minus(decimal(spentUsd)).minus(decimal(reservedUsd))
  return room.lt(0) ? '0' : usdText(room)
}
