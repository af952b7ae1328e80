import type { Balance } from '../db/quotas/balances.ts'
import { exactJson } from '../domain/exact-json.ts'
import { decimal, usdText } from '../domain/money.ts'
import type { UsageWarning } from '../schemas/usage.ts'
import type { Principal } from './keys/principal.ts'

/** A USD amount as a JSON number in plain digits, all of them; it never passes through binary floating point. */
export function usdJson(text: string): RawJson {
  return JSON.rawJSON(plainDigits(text))
}

function plainDigits(text: string): string {
  return text.endsWith('0') && text.includes('.') ? text.replace(/\.?0+$/, '') : text
}

const WHOLE_SECOND = '2026-01-01T00:00:00+00:00'

/** RFC 3339 in UTC, without a fraction where it is zero. */
export function timeText(at: string | Date): string {
  // As Postgres writes a whole second: no date has to be made of it.
  if (typeof at === 'string' && at.length === WHOLE_SECOND.length && at.endsWith('+00:00')) return `${at.slice(0, 19)}Z`
  return new Date(at).toISOString().replace('.000Z', 'Z')
}

/** A platform quota shows no amounts to a principal that is bound to a tenant: they would tell of the others. */
export function seesAmounts(principal: Principal, balance: Pick<Balance, 'scope'>): boolean {
  return principal.tenantId === null || balance.scope !== 'platform'
}

/**
 * The least room over enforced balances, as far as the principal may know it: null where a balance that hides its amounts has
 * less than all others, as its room would be told.
 *
 * @param roomUsd the least room over them all; null where none is enforced.
 */
export function largestAllowed(principal: Principal, roomUsd: string | null, balances: Balance[]): RawJson | null {
  const told =
    roomUsd !== null &&
    (principal.tenantId === null ||
      balances.some(
        (balance) =>
          balance.enforcement === 'enforce' &&
          seesAmounts(principal, balance) &&
          decimal(balance.remainingUsd).eq(decimal(roomUsd)),
      ))
  return told ? usdJson(roomUsd) : null
}

// The items of a batch share their balances, so the text of each is made once.
const written = new WeakMap<Balance, string>()

/** A quota as it stands, as JSON text. */
function quotaJson(principal: Principal, balance: Balance): string {
  if (!seesAmounts(principal, balance)) return writeQuota(balance, () => 'null')
  let text = written.get(balance)
  if (text === undefined) written.set(balance, (text = writeQuota(balance, plainDigits)))
  return text
}

function writeQuota(balance: Balance, amount: (text: string) => string): string {
  return (
    `{"quota_id":${balance.quotaId},"scope":"${balance.scope}","scope_id":${JSON.stringify(balance.scopeId)},` +
    `"period":"${balance.period}","enforcement":"${balance.enforcement}","limit_usd":${amount(balance.limitUsd)},` +
    `"spent_usd":${amount(balance.spentUsd)},"reserved_usd":${amount(balance.reservedUsd)},` +
    `"remaining_usd":${amount(balance.remainingUsd)},"reset_at":"${timeText(balance.endsAt)}"}`
  )
}

/** A quota as it stands, for an answer with more about it. */
export function quotaAnswer(principal: Principal, balance: Balance): Record<string, unknown> {
  return exactJson(quotaJson(principal, balance)) as Record<string, unknown>
}

/**
 * The JSON text of an answer to a decision: its fields, the quotas and the warnings. Measured: the texts of the quotas take a
 * sixth of what objects with exact amounts take.
 */
export function decisionJson(principal: Principal, fields: object, quotas: Balance[], warnings: Warning[]): string {
  const texts = quotas.map((balance) => quotaJson(principal, balance))
  return `${JSON.stringify(fields).slice(0, -1)},"quotas":[${texts.join(',')}],"warnings":${JSON.stringify(warnings)}}`
}

/** A quota that let something pass above its limit. */
export type QuotaWarning = { code: 'quota_exceeded'; quota_id: number | null; detail: string }

export type Warning = QuotaWarning | UsageWarning

export function quotaWarning(principal: Principal, balance: Balance): QuotaWarning {
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
