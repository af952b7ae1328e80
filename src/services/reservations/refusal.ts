import { balanceWith, type Balance } from '../../db/quotas/balances.ts'
import type { BalanceThen, Refusal } from '../../db/reservations/reserve-spend.ts'
import { decimal, usdText, type Usd } from '../../domain/money.ts'
import { Problem } from '../../errors.ts'
import {
  largestAllowed,
  ownerOf,
  periodText,
  quotaAnswer,
  seesAmounts,
  showUsd,
  timeText,
  usdJson,
} from '../answers.ts'
import type { Principal } from '../keys/principal.ts'
import { NEVER, rateLimitFields, resetSeconds } from './rate-limit-fields.ts'

/** The time of a decision and the balances that it read. */
type Decided = { now: Date; all: Balance[] }

/**
 * Builds quota_exceeded: each violated quota with its amounts at the decision, and the largest amount that would have been
 * allowed, if the principal may see it.
 *
 * The violated quota that resets last is also given at the top level. Besides the members of RFC 9457, the body has the
 * fields that callers of the first system read.
 *
 * @param whole the amount is the new total of an open hold. The answer then leaves that hold out of the held amounts and of
 * the largest amount allowed.
 */
export function quotaExceeded(
  principal: Principal,
  resourceType: 'llm' | 'e2b',
  requestedUsd: Usd,
  refused: Refusal,
  decision: Decided,
  { whole }: { whole: boolean } = { whole: false },
): Problem {
  const violated = refused.violations.map((then) => balanceThen(decision, then))
  const last = violated.reduce((latest, balance) =>
    new Date(balance.endsAt) > new Date(latest.endsAt) ? balance : latest,
  )
  const shown = seesAmounts(principal, last)
  const amount = (usd: Usd) => (shown ? usdJson(usdText(usd)) : null)
  const overage = decimal(last.spentUsd)
    .plus(decimal(last.reservedUsd))
    .plus(requestedUsd)
    .minus(decimal(last.limitUsd))
  const asked = `${showUsd(usdText(requestedUsd))} ${whole ? 'in all ' : ''}was asked for`
  const above = overage.minus(requestedUsd)
  const left = above.gt(0)
    ? `is ${showUsd(usdText(above))} USD above its limit of ${showUsd(last.limitUsd)} USD ${periodText(last.period)}`
    : `has ${showUsd(last.remainingUsd)} of ${showUsd(last.limitUsd)} USD left ${periodText(last.period)}`
  const detail = shown
    ? `${ownerOf(last)} ${left}${whole ? ' for the whole of this hold' : ''}; ${asked}`
    : `the platform's quota ${periodText(last.period)} does not allow it; ${asked}`
  return new Problem('quota_exceeded', detail, {
    members: {
      error: 'quota_exceeded',
      resource_type: resourceType,
      scope: last.scope,
      scope_id: last.scopeId,
      period: last.period,
      current_spend_usd: amount(decimal(last.spentUsd)),
      reserved_usd: amount(decimal(last.reservedUsd)),
      limit_usd: amount(decimal(last.limitUsd)),
      overage_usd: amount(overage),
      period_starts_at: timeText(last.startsAt),
      period_ends_at: timeText(last.endsAt),
      reset_at: timeText(last.endsAt),
      requested_usd: usdJson(usdText(requestedUsd)),
      largest_allowed_usd: largestAllowed(principal, refused.largest_allowed_usd, violated),
      violations: violationAnswers(principal, refused, decision),
    },
    headers: refusalHeaders(principal, last, violated, requestedUsd, decision.now),
  })
}

/** The violated quotas of a refusal, with their amounts at the decision. */
export function violationAnswers(principal: Principal, refused: Refusal, decision: Decided): object[] {
  return refused.violations.map((then) => {
    const { enforcement: _enforcement, ...violation } = quotaAnswer(principal, balanceThen(decision, then))
    return violation
  })
}

function balanceThen({ all }: Decided, [place, spentUsd, reservedUsd]: BalanceThen): Balance {
  return balanceWith(all[place]!, spentUsd, reservedUsd)
}

/**
 * Writes the RateLimit fields of the quota at the top level, and Retry-After if waiting for the reset can help.
 *
 * Retry-After depends only on amounts that the principal may see. Otherwise a caller could find a hidden limit by trying
 * amounts and watching for the header.
 */
function refusalHeaders(
  principal: Principal,
  last: Balance,
  violated: Balance[],
  requestedUsd: Usd,
  now: Date,
): Record<string, string> {
  const headers: Record<string, string> = seesAmounts(principal, last) ? rateLimitFields(last, now) : {}
  const hopeless =
    timeText(last.endsAt) === NEVER ||
    violated.some((balance) => seesAmounts(principal, balance) && requestedUsd.gt(decimal(balance.limitUsd)))
  return hopeless ? headers : { ...headers, 'retry-after': String(resetSeconds(last, now)) }
}
