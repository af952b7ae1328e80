import type { Balance } from '../../db/quotas/balances.ts'
import { seesAmounts, timeText } from '../answers.ts'
import type { Principal } from '../keys/principal.ts'

/** When a total resets: never. */
export const NEVER = '9999-12-31T00:00:00Z'

/** Seconds until a balance's period ends, at least 1. */
export function resetSeconds({ endsAt }: Balance, now: Date): number {
  return Math.max(1, Math.ceil((new Date(endsAt).getTime() - now.getTime()) / 1000))
}

// The items of a batch share their balances and their moment, so the fields of each are written once.
const written = new WeakMap<Balance, Record<string, string>>()

/** The RateLimit fields of one quota, in whole micros of a USD; without a window where its length varies. */
export function rateLimitFields(balance: Balance, now: Date): Record<string, string> {
  let fields = written.get(balance)
  if (fields === undefined) {
    const name = `"${balance.scope}-${balance.period}"`
    const seconds = { hour: 3_600, day: 86_400, week: 604_800 }[balance.period]
    const reset = timeText(balance.endsAt) === NEVER ? '' : `;t=${resetSeconds(balance, now)}`
    fields = {
      'ratelimit-policy': `${name};q=${micros(balance.limitUsd)}${seconds ? `;w=${seconds}` : ''};qu="usd-micros"`,
      ratelimit: `${name};r=${micros(balance.remainingUsd)}${reset}`,
    }
    written.set(balance, fields)
  }
  return fields
}

/** The fields of the enforced quota that has least left, of those whose amounts the principal may see; none without one. */
export function tightestFields(principal: Principal, quotas: Balance[], now: Date): Record<string, string> {
  let tightest: Balance | undefined
  for (const balance of quotas) {
    if (balance.enforcement !== 'enforce' || !seesAmounts(principal, balance)) continue
    // As doubles, which tell two apart by less than a micro.
    if (tightest === undefined || Number(balance.remainingUsd) < Number(tightest.remainingUsd)) tightest = balance
  }
  return tightest === undefined ? {} : rateLimitFields(tightest, now)
}

/** Whole micros of an amount that is not negative, rounded down: what is promised is there. */
function micros(usd: string): string {
  const [whole = '', fraction = ''] = usd.split('.')
  return `${whole}${fraction.slice(0, 6).padEnd(6, '0')}`.replace(/^0+(?=\d)/, '')
}
