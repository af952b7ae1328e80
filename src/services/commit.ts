import type { Enforcement } from '../config.ts'
import type { Balance } from '../db/balances.ts'
import type { DatabaseClock } from '../db/clock.ts'
import type { CommitItem, Settlement } from '../db/commit-spend.ts'
import { readInstant } from '../domain/instant.ts'
import { decimal, usdText } from '../domain/money.ts'
import type { Usage } from '../domain/usage/index.ts'
import { Problem, invalidRequest, type FieldError } from '../errors.ts'
import type { CommitBody } from '../schemas/reservations.ts'
import { inSpan, type WorkSpan } from '../telemetry/spans.ts'
import { decisionJson, quotaWarning, usdJson } from './answers.ts'
import { measureOf, type Measure } from './measure.ts'
import type { Principal } from './principal.ts'
import { requestHash, understoodFields, understoodMeasure } from './request-hash.ts'

export type CommitDeps = {
  settle: (item: CommitItem) => Promise<Settlement>
  enforcement: Enforcement
  clock: DatabaseClock
}

/**
 * Books what a reservation really cost, and gives its hold back; answers JSON text. Never refused for lack of quota: late and larger commits
 * are booked and marked. The same commit again answers the same.
 *
 * @throws not_found; reservation_committed for a different commit; invalidRequest.
 */
export async function commit(deps: CommitDeps, principal: Principal, id: string, body: CommitBody): Promise<string> {
  const measure = measureOf({ ...body, cost_usd: body.actual_cost_usd }, { costName: 'actual_cost_usd' })
  const call = body.call && callOf(body.call)
  const item: CommitItem = {
    reservation_id: id.toLowerCase(),
    tenant_id: principal.tenantId,
    commit_hash: requestHash(understood(body, measure, call), body),
    // Made here, before the batch is sent, so that a batch sent again books the same line.
    cost_record_id: deps.clock.newId(),
    reversal_id: deps.clock.newId(),
    ...measure,
    provider: body.provider,
    model: body.model,
    sandbox_id: body.sandbox_id,
    call,
    execution: body.execution,
    resources: body.resources,
  }
  const usage: Usage | undefined = item.usage
  const about = {
    reservationId: item.reservation_id,
    responseModel: item.model,
    inputTokens: usage?.input_tokens,
    outputTokens: usage?.output_tokens,
  }
  // Of which kind the reservation is, money alone does not say; the settled reservation does.
  const name = item.measure === 'seconds' ? 'e2b.cost.calculate' : 'llm.cost.calculate'
  return inSpan(name, about, (span) => settleItem(deps, principal, item, body, span))
}

function callOf({
  started_at: startedAt,
  ended_at: endedAt,
  ...rest
}: NonNullable<CommitBody['call']>): CommitItem['call'] {
  return {
    ...(startedAt && { started_at: readInstant(startedAt) }),
    ...(endedAt && { ended_at: readInstant(endedAt) }),
    ...rest,
  }
}

/** What a commit says, in one spelling: see requestHash(). */
function understood(body: CommitBody, measure: Measure, call: CommitItem['call']): object {
  return {
    ...understoodMeasure(measure),
    provider: body.provider,
    model: body.model,
    sandbox_id: body.sandbox_id ?? undefined,
    call: understoodFields(call),
    execution: understoodFields(body.execution),
    resources: understoodFields(body.resources),
  }
}

async function settleItem(
  deps: CommitDeps,
  principal: Principal,
  item: CommitItem,
  body: CommitBody,
  span: WorkSpan,
): Promise<string> {
  const id = item.reservation_id
  const settlement = await deps.settle(item)
  const { outcome } = settlement
  if ('unknown' in outcome) throw new Problem('not_found', `There is no reservation ${id}`)
  if ('conflict' in outcome) {
    throw new Problem(
      'reservation_committed',
      `Reservation ${id} has been committed with another result already. Nothing was booked.`,
    )
  }
  if ('unfit' in outcome) throw invalidRequest([unfit(outcome.unfit, body)])
  const { committed } = outcome
  const { tenant_id: tenantId, provider, model: requestModel, tier, region } = committed
  span.set({ tenantId, provider, requestModel, tier, region, costUsd: committed.cost_usd })
  span.rename(`${committed.resource_type}.cost.calculate`)
  const costUsd = decimal(committed.cost_usd!)
  const reservedUsd = decimal(committed.reserved_usd)
  const fields = {
    reservation_id: committed.reservation_id,
    status: 'committed',
    cost_usd: usdJson(committed.cost_usd!),
    reserved_usd: usdJson(committed.reserved_usd),
    released_usd: usdJson(committed.released_usd!),
    overrun_usd: usdJson(costUsd.gt(reservedUsd) ? usdText(costUsd.minus(reservedUsd)) : '0'),
    late: committed.late,
    estimated: committed.estimated,
    cost_record_id: committed.cost_record_id,
    price_id: committed.commit_price_id,
  }
  const exceeded = deps.enforcement === 'off' ? [] : settlement.quotas.filter(isExceeded)
  const warnings = exceeded.map((balance) => quotaWarning(principal, balance))
  return decisionJson(principal, fields, settlement.quotas, warnings)
}

function isExceeded({ enforcement, limitUsd, spentUsd, reservedUsd, remainingUsd }: Balance): boolean {
  if (enforcement === 'off' || remainingUsd !== '0') return false
  return decimal(spentUsd).plus(decimal(reservedUsd)).gt(decimal(limitUsd))
}

function unfit(measure: 'tokens' | 'seconds' | 'model', body: CommitBody): FieldError {
  if (measure === 'model') {
    const [pointer, beside] = body.model === undefined ? ['/model', 'provider'] : ['/provider', 'model']
    return {
      pointer,
      message: `is required with ${beside}: the reservation named no model, so the usage has no price`,
    }
  }
  const pointer = body.provider_usage === undefined ? '/usage' : '/provider_usage'
  return measure === 'tokens'
    ? { pointer, message: 'is of a model, but the reservation is of a sandbox: give usage.seconds or actual_cost_usd' }
    : {
        pointer: '/usage/seconds',
        message: 'is of a sandbox, but the reservation is of a model: give its tokens or actual_cost_usd',
      }
}
