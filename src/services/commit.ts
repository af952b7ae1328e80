import stringify from 'safe-stable-stringify'
import { hash } from 'node:crypto'
import { uuidv7 } from 'uuidv7'
import type { CommitItem, Settlement } from '../db/commit-spend.ts'
import { decimal, usdText } from '../domain/money.ts'
import { checkUsage, normalizeProviderUsage, UsageError, type Usage } from '../domain/usage/index.ts'
import { Problem, invalidRequest, type FieldError } from '../errors.ts'
import type { CommitBody } from '../schemas/reservations.ts'
import type { UsageBody } from '../schemas/usage.ts'
import { inSpan, type WorkSpan } from '../telemetry/spans.ts'
import { amountOf } from './amount.ts'
import { quotaAnswer, quotaWarning, usdJson } from './answers.ts'
import type { Principal } from './principal.ts'

export type CommitDeps = { settle: (item: CommitItem) => Promise<Settlement> }

/**
 * Books what a reservation really cost, and gives its hold back. Never refused for lack of quota: late and larger commits
 * are booked and marked. The same commit again answers the same.
 *
 * @throws not_found; reservation_committed for a different commit; invalidRequest.
 */
export async function commit(deps: CommitDeps, principal: Principal, id: string, body: CommitBody): Promise<object> {
  const item: CommitItem = {
    reservation_id: id.toLowerCase(),
    tenant_id: principal.tenantId,
    commit_hash: `\\x${hash('sha256', stringify(body), 'hex')}`,
    // Made here, before the batch is sent, so that a batch sent again books the same line.
    cost_record_id: uuidv7(),
    reversal_id: uuidv7(),
    ...measureOf(body),
    provider: body.provider,
    model: body.model,
    sandbox_id: body.sandbox_id,
    call: body.call,
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

async function settleItem(
  deps: CommitDeps,
  principal: Principal,
  item: CommitItem,
  body: CommitBody,
  span: WorkSpan,
): Promise<object> {
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
  return {
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
    quotas: settlement.quotas.map((balance) => quotaAnswer(principal, balance)),
    warnings: settlement.quotas
      .filter(
        ({ enforcement, limitUsd, spentUsd, reservedUsd: held }) =>
          enforcement !== 'off' && decimal(spentUsd).plus(decimal(held)).gt(decimal(limitUsd)),
      )
      .map((balance) => quotaWarning(principal, balance)),
  }
}

/** What says how much it cost: tokens, seconds or money; exactly one of the three. */
function measureOf(body: CommitBody): Pick<CommitItem, 'measure' | 'usage' | 'seconds' | 'cost_usd'> {
  const given = (['usage', 'provider_usage', 'actual_cost_usd'] as const).filter((name) => body[name] !== undefined)
  if (given.length !== 1) {
    const message = 'is required: exactly one of usage, provider_usage and actual_cost_usd'
    throw invalidRequest([{ pointer: `/${given[1] ?? 'usage'}`, message }])
  }
  if (body.actual_cost_usd !== undefined) {
    return { measure: 'cost', cost_usd: usdText(amountOf(body.actual_cost_usd, '/actual_cost_usd')) }
  }
  if (body.provider_usage !== undefined) {
    return {
      measure: 'tokens',
      usage: inNormalForm(() => normalizeProviderUsage(body.provider_usage), '/provider_usage'),
    }
  }
  const { seconds, ...tokens } = body.usage!
  if (seconds === undefined) return { measure: 'tokens', usage: tokensOf(tokens, '/usage') }
  if (Object.keys(tokens).length > 0) {
    throw invalidRequest([
      { pointer: '/usage/seconds', message: 'does not go with tokens: a sandbox has seconds only' },
    ])
  }
  return { measure: 'seconds', seconds: usdText(decimal(seconds)) }
}

/** Tokens in normal form. @throws invalidRequest at the place that is wrong. */
export function tokensOf(usage: Omit<UsageBody, 'seconds'>, pointer: string): Usage {
  return inNormalForm(() => checkUsage(usage), pointer)
}

export function inNormalForm(read: () => Usage, pointer: string): Usage {
  try {
    return read()
  } catch (error) {
    if (error instanceof UsageError)
      throw invalidRequest([{ pointer: pointer + error.pointer, message: error.message }])
    throw error
  }
}

function unfit(measure: 'tokens' | 'seconds' | 'model', body: CommitBody): FieldError {
  if (measure === 'model') {
    return {
      pointer: '/model',
      message: 'is required with provider: the reservation named no model, so the usage has no price',
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
