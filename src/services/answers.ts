import type { Balance } from '../db/balances.ts'
import { decimal, usdText } from '../domain/money.ts'
import type { Principal } from './principal.ts'

/** A USD amount as a JSON number in plain digits, all of them; it never passes through binary floating point. */
export function usdJson(text: string): RawJson {
  return JSON.rawJSON(text.endsWith('0') && text.includes('.') ? text.replace(/\.?0+$/, '') : text)
}

const WHOLE_SECOND = '2026-01-01T00:00:00+00:00'

/** RFC 3339 in UTC, without a fraction where it is zero. */
export function timeText(at: string | Date): string {
  // As Postgres writes a whole second: no date has to be made of it.
  if (typeof at === 'string' && at.length === WHOLE_SECOND.length && at.endsWith('+00:00')) return `${at.slice(0, 19)}Z`
  return new Date(at).toISOString().replace('.000Z', 'Z')
}

export type QuotaAnswer = {
  quota_id: number
  scope: string
  scope_id: string
  period: string
  enforcement: string
  limit_usd: RawJson | null
  spent_usd: RawJson | null
  reserved_usd: RawJson | null
  remaining_usd: RawJson | null
  reset_at: string
}

// The items of a batch share their balances, so what is made of each is made once.
const written = new WeakMap<Balance, QuotaAnswer>()

/** A platform quota shows no amounts to a principal that is bound to a tenant: they would tell of the others. */
export function seesAmounts(principal: Principal, balance: Pick<Balance, 'scope'>): boolean {
  return principal.tenantId === null || balance.scope !== 'platform'
}

export function quotaAnswer(principal: Principal, balance: Balance): QuotaAnswer {
  let answer = written.get(balance)
  if (answer === undefined) {
    answer = {
      quota_id: balance.quotaId,
      scope: balance.scope,
      scope_id: balance.scopeId,
      period: balance.period,
      enforcement: balance.enforcement,
      limit_usd: usdJson(balance.limitUsd),
      spent_usd: usdJson(balance.spentUsd),
      reserved_usd: usdJson(balance.reservedUsd),
      remaining_usd: usdJson(balance.remainingUsd),
      reset_at: timeText(balance.endsAt),
    }
    written.set(balance, answer)
  }
  if (seesAmounts(principal, balance)) return answer
  return { ...answer, limit_usd: null, spent_usd: null, reserved_usd: null, remaining_usd: null }
}

export type WarningAnswer = { code: 'quota_exceeded'; quota_id: number; detail: string }

export function quotaWarning(principal: Principal, balance: Balance): WarningAnswer {
  const amounts = seesAmounts(principal, balance)
    ? `: ${showUsd(balance.spentUsd)} spent and ${showUsd(balance.reservedUsd)} held of ${showUsd(balance.limitUsd)} USD`
    : ''
  return {
    code: 'quota_exceeded',
    quota_id: balance.quotaId,
    detail: `${ownerOf(balance)} is above its quota ${periodText(balance.period)}${amounts}`,
  }
}

/** Whose quota it is, for a sentence. */
export function ownerOf({ scope, scopeId }: Balance): string {
  return scope === 'platform' ? 'the platform' : `${scope} ${scopeId}`
}

/** When a quota counts, for a sentence. */
export function periodText(period: string): string {
  return { hour: 'this hour', day: 'today', week: 'this week', month: 'this month' }[period] ?? 'in total'
}

/** An amount for a sentence: at least two decimals, and all that it has. */
export function showUsd(text: string): string {
  const [whole, fraction = ''] = usdText(decimal(text)).split('.')
  return `${whole}.${fraction.padEnd(2, '0')}`
}
