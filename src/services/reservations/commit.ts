import stringify from 'safe-stable-stringify'
import type { Enforcement } from '../../config.ts'
import type { Balance } from '../../db/quotas/balances.ts'
import type { CommitItem } from '../../db/reservations/commit-spend.ts'
import { readInstant } from '../../domain/instant.ts'
import { decimal, usdText } from '../../domain/money.ts'
import { UsageError, type UsageSource } from '../../domain/usage/index.ts'
import { keepUsage } from '../../domain/usage/keep.ts'
import { Problem, invalidRequest, type FieldError } from '../../errors.ts'
import type { CommitBody } from '../../schemas/reservations.ts'
import type { UsageWarning } from '../../schemas/usage.ts'
import { inSpan, type WorkSpan } from '../../telemetry/spans.ts'
import { decisionJson, quotaWarning, usdJson, type Warning } from '../answers.ts'
import { measureOf, type Measure, type Measured } from '../costs/measure.ts'
import type { PriceDeps } from '../prices/price-lookup.ts'
import type { Principal } from '../keys/principal.ts'
import type { Queues } from '../queues.ts'
import { noReservation } from './no-reservation.ts'
import { requestHash, understoodFields, understoodMeasure } from './request-hash.ts'
import type { EmitUnread } from '../costs/unread-fields.ts'
import { bookedWarnings } from '../costs/usage-warnings.ts'

export type CommitDeps = PriceDeps & {
  queues: Pick<Queues, 'commit' | 'findSubject'>
  emitUnread: EmitUnread
  enforcement: Enforcement
}

/**
 * Books the actual cost of a reservation and releases its hold. Returns the answer as JSON text.
 *
 * A commit is never refused for lack of quota: late commits and commits above the hold are booked and marked. If a
 * provider's usage cannot be read, the reserved amount is booked and the usage is kept. Safe to retry: the same commit
 * gets the same answer.
 * @throws not_found; reservation_committed for a different commit; invalidRequest.
 */
export async function commit(deps: CommitDeps, principal: Principal, id: string, body: CommitBody): Promise<string> {
  const reservationId = id.toLowerCase()
  const source = () => usageSourceOf(deps, principal, reservationId, body)
  const measured = await measureOrReserved(body, source)
  const { measure } = measured
  const call = body.call && callFields(body.call)
  const item: CommitItem = {
    reservation_id: reservationId,
    tenant_id: principal.tenantId,
    commit_hash: requestHash(understoodCommit(body, measure, call), body),
    // Make the ids before the batch is sent, so that a retry of the batch books the same line.
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
  const usage = measured.reading?.usage
  const about = {
    reservationId: item.reservation_id,
    responseModel: item.model,
    inputTokens: usage?.input_tokens,
    outputTokens: usage?.output_tokens,
  }
  // A commit of money does not say whether it is for a model or a sandbox. The settled reservation does.
  const name = item.measure === 'seconds' ? 'e2b.cost.calculate' : 'llm.cost.calculate'
  return inSpan(name, about, (span) => settleItem(deps, principal, item, body, measured, span))
}

/**
 * Books the reserved amount. `unreadable_usage` is set if the provider's usage could not be read: why, and the part of it
 * that is kept (null if it was too large to keep).
 */
type Reserved = {
  measure: 'reserved'
  unreadable_usage?: { reasons: FieldError[]; provider_usage: Record<string, unknown> | null }
}

type CommitMeasured = Measured | { measure: Reserved; reading?: never }

/** Measures the commit; falls back to the reserved amount if provider_usage cannot be read (rule 10). */
async function measureOrReserved(body: CommitBody, source: () => Promise<UsageSource>): Promise<CommitMeasured> {
  if (body.usage_unknown === true) {
    const other = (['usage', 'provider_usage', 'actual_cost_usd'] as const).find((name) => body[name] !== undefined)
    if (other === undefined) return { measure: { measure: 'reserved' } }
    throw invalidRequest([{ pointer: `/${other}`, message: 'cannot be combined with usage_unknown' }])
  }
  try {
    return await measureOf({ ...body, cost_usd: body.actual_cost_usd }, { costName: 'actual_cost_usd', source })
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    const reasons = [{ pointer: error.pointer, message: error.message }]
    return {
      measure: { measure: 'reserved', unreadable_usage: { reasons, provider_usage: keepUsage(body.provider_usage!) } },
    }
  }
}

/**
 * Finds the provider and model of a usage, in the body or else in the reservation.
 *
 * @throws not_found; invalidRequest if neither names a model.
 */
async function usageSourceOf(
  { queues }: CommitDeps,
  principal: Principal,
  id: string,
  body: CommitBody,
): Promise<UsageSource> {
  if (body.provider !== undefined && body.model !== undefined) return { provider: body.provider, model: body.model }
  const subject = await queues.findSubject(id)
  if (subject === undefined || (principal.tenantId !== null && subject.tenant_id !== principal.tenantId))
    throw noReservation(id)
  if (subject.resource_type === 'e2b') throw invalidRequest([unfit('tokens', body)])
  const provider = body.provider ?? subject.provider
  const model = body.model ?? subject.model
  if (provider === null || model === null) throw invalidRequest([unfit('model', body)])
  return { provider, model }
}

function callFields({
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

/** The content of a commit in a normal form, for requestHash(). */
function understoodCommit(body: CommitBody, measure: Measure | Reserved, call: CommitItem['call']): object {
  return {
    ...(measure.measure === 'reserved'
      ? { usage_unknown: body.usage_unknown, unread: stringify(body.provider_usage) }
      : understoodMeasure(measure)),
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
  { measure, reading }: CommitMeasured,
  span: WorkSpan,
): Promise<string> {
  const id = item.reservation_id
  const settlement = await deps.queues.commit(item)
  const { outcome } = settlement
  if ('unknown' in outcome) throw noReservation(id)
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
  const warnings: Warning[] = exceeded.map((balance) => quotaWarning(principal, balance))
  if (measure.measure === 'reserved') warnings.push(...unreadableWarnings(measure))
  if (reading !== undefined) {
    const { commit_price_id: priceId } = committed
    const booked = {
      provider: body.provider ?? provider,
      model: body.model ?? requestModel,
      by: priceId === null ? null : { priceId },
      asked: { serviceTier: committed.service_tier, region },
      costUsd,
    }
    warnings.push(...(await bookedWarnings(deps, principal, reading, booked)))
  }
  return decisionJson(principal, fields, settlement.quotas, warnings)
}

function unreadableWarnings({ unreadable_usage: unread }: Reserved): UsageWarning[] {
  if (unread === undefined) return []
  const { reasons, provider_usage: kept } = unread
  const after =
    kept === null
      ? 'The object was too large to keep: correct the record'
      : "The object's numbers and single words are kept with the record; `prices -- rerate` prices them once a release can read them"
  return reasons.map(({ pointer, message }) => ({
    code: 'usage_unreadable',
    pointer,
    detail: `${message}. The reserved amount was booked. ${after}`,
  }))
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
