import type { ReserveBody } from '../../schemas/reservations.ts'
import { inSpan } from '../../telemetry/spans.ts'
import { decisionJson, largestAllowed, usdJson } from '../answers.ts'
import { tenantOf, type Principal } from '../keys/principal.ts'
import type { Queues } from '../queues.ts'
import { violationAnswers } from './refusal.ts'
import { estimateReservation, type EstimateDeps } from './reserve-estimate.ts'
import { reserveItem, quotaWarningsOf, type Answered } from './reserve.ts'

export type CheckDeps = EstimateDeps & { queues: Pick<Queues, 'check'> }

/**
 * Answers what reserve() would decide at this moment. Holds nothing, so a later reservation may be decided differently.
 *
 * @throws price_not_found; invalidRequest; forbidden. A refusal is answered, not thrown.
 */
export async function check(deps: CheckDeps, principal: Principal, body: ReserveBody): Promise<Answered> {
  const tenantId = tenantOf(principal, body.tenant_id)
  const estimate = await estimateReservation(deps, principal, tenantId, body)
  const item = reserveItem(deps.clock, principal, tenantId, body, estimate, null)
  const { provider, model, tier, region, amount_usd: requestedUsd } = item
  const about = { tenantId, provider, requestModel: model, tier, region, requestedUsd }
  return inSpan(`${item.resource_type}.quota.check`, about, async () => {
    const checked = await deps.queues.check(item)
    const { outcome, quotas, largestAllowedUsd } = checked
    const granted = 'granted' in outcome ? outcome : null
    const warnings = quotaWarningsOf(principal, checked, granted?.warned ?? [])
    const units = granted?.units ?? null
    return {
      body: decisionJson(
        principal,
        {
          allowed: granted !== null,
          requested_usd: usdJson(requestedUsd),
          largest_allowed_usd: largestAllowed(principal, largestAllowedUsd, quotas),
          price_id: estimate.priceId,
          caps: units === null ? null : { [item.caps_name!]: units },
          violations: 'refused' in outcome ? violationAnswers(principal, outcome.refused, checked) : [],
        },
        quotas,
        [...warnings, ...estimate.warnings],
      ),
      headers: warnings.length > 0 ? { 'x-purser-enforcement': 'warn' } : {},
    }
  })
}
