import type { Balance } from '../../db/quotas/balances.ts'
import { seesAmounts, timeText } from '../answers.ts'
import type { Principal } from '../keys/principal.ts'

/** The reset time that is answered for a quota over all time, which never resets. */
export const NEVER = '9999-12-31T00:00:00Z'

/** Seconds until a balance's period ends, at least 1. */
export function resetSeconds({ endsAt }: Balance, now: Date): number {
  return Math.max(1, Math.ceil((new Date(endsAt).getTime() - now.getTime()) / 1000))
}

// The items of a batch share their balance objects and their time, so the fields of each balance are written once.
const written = new WeakMap<Balance, Record<string, string>>()

/** Writes the RateLimit fields of one quota, in whole millionths of a USD. Periods of varying length have no window. */
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

/** Writes the fields of the enforced quota with the least left. Skips quotas whose amounts the principal may not see. */
export function tightestFields(principal: Principal, quotas: Balance[], now: Date): Record<string, string> {
  let tightest: Balance | undefined
  for (const balance of quotas) {
    if (balance.enforcement !== 'enforce' || !seesAmounts(principal, balance)) continue
    // Doubles are precise enough here: the fields are in whole millionths of a USD.
    if (tightest === undefined || Number(balance.remainingUsd) < Number(tightest.remainingUsd)) tightest = balance
  }
  return tightest === undefined ? {} : rateLimitFields(tightest, now)
}

/** Converts a non-negative amount to whole millionths of a USD. Rounds down, so that the answer never promises too much. */
function micros(usd: string): string {
  const [whole = '', fraction = ''] = usd.split('.')
  return `${whole}${fraction.slice(0, 6).padEnd(6, '0')}`.replace(/^0+(?=\d)/, '')
}
