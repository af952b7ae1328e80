import { balanceWith, type Balance } from '../../db/quotas/balances.ts'
import type { DatabaseClock } from '../../db/pool/clock.ts'
import type { BalanceThen, ReserveItem } from '../../db/reservations/reserve-spend.ts'
import type { StoredReservation } from '../../db/reservations/reservation.ts'
import { usdText } from '../../domain/money.ts'
import { Problem } from '../../errors.ts'
import type { ReserveBody } from '../../schemas/reservations.ts'
import { inSpan, type WorkSpan } from '../../telemetry/spans.ts'
import { decisionJson, quotaWarning, timeText, usdJson, type QuotaWarning } from '../answers.ts'
import { tenantOf, type Principal } from '../keys/principal.ts'
import { tightestFields } from './rate-limit-fields.ts'
import type { Queues } from '../queues.ts'
import { quotaExceeded } from './refusal.ts'
import { requestHash, understoodAttribution, understoodPlace } from './request-hash.ts'
import { estimateReservation, type EstimateDeps, type ReserveEstimate } from './reserve-estimate.ts'

export type ReserveDeps = EstimateDeps & { queues: Pick<Queues, 'reserve'> }

/** An answer whose body is JSON text. */
export type Answered = { body: string; headers: Record<string, string> }
export type Reserved = Answered & { reservationId: string }

const LLM_TTL_SECONDS = 120
const E2B_TTL_BEYOND_SECONDS = 60

/**
 * Holds the estimate in every quota that applies, or in none of them.
 *
 * Safe to retry with the same idempotency key: the answer is the first outcome. Amounts are exact decimals in USD.
 *
 * @param isGone returns whether the caller has disconnected. If it has, a request that is still queued is dropped undecided.
 * @throws quota_exceeded with every violated quota; price_not_found; idempotency_mismatch; invalidRequest; forbidden.
 */
export async function reserve(
  deps: ReserveDeps,
  principal: Principal,
  body: ReserveBody,
  idempotencyKey: string | null,
  isGone: () => boolean,
): Promise<Reserved> {
  const tenantId = tenantOf(principal, body.tenant_id)
  const estimate = await estimateReservation(deps, principal, tenantId, body)
  const item = reserveItem(deps.clock, principal, tenantId, body, estimate, idempotencyKey)
  const { provider, model, tier, region, amount_usd: requestedUsd } = item
  const about = { tenantId, provider, requestModel: model, tier, region, requestedUsd }
  return inSpan(`${item.resource_type}.quota.check`, about, (span) =>
    decide(deps, principal, estimate, item, isGone, span),
  )
}

async function decide(
  deps: ReserveDeps,
  principal: Principal,
  estimate: ReserveEstimate,
  item: ReserveItem,
  isGone: () => boolean,
  span: WorkSpan,
): Promise<Reserved> {
  const decision = await deps.queues.reserve(item, isGone)
  const { outcome } = decision
  if ('mismatch' in outcome) {
    throw new Problem(
      'idempotency_mismatch',
      'This Idempotency-Key was used with another body before. Nothing was reserved; use a new key for a new request.',
    )
  }
  if ('refused' in outcome) {
    throw quotaExceeded(principal, item.resource_type, estimate.amountUsd, outcome.refused, decision)
  }
  const fields = tightestFields(principal, decision.quotas, decision.now)
  if ('replayed' in outcome) {
    span.set({ reservationId: outcome.replayed.reservation_id, replayed: true })
    return {
      reservationId: outcome.replayed.reservation_id,
      body: decisionJson(principal, storedAnswer(outcome.replayed), decision.quotas, estimate.warnings),
      headers: { ...fields, 'idempotency-replayed': 'true' },
    }
  }
  span.set({ reservationId: item.reservation_id })
  const warnings = quotaWarningsOf(principal, decision, outcome.warned ?? [])
  const ttlSeconds =
    outcome.units !== null && item.ttl_beyond_units !== undefined
      ? outcome.units + item.ttl_beyond_units
      : item.ttl_seconds
  return {
    reservationId: item.reservation_id,
    body: decisionJson(
      principal,
      {
        reservation_id: item.reservation_id,
        status: 'reserved',
        resource_type: item.resource_type,
        tenant_id: item.tenant_id,
        reserved_usd: usdJson(outcome.granted),
        price_id: estimate.priceId,
        created_at: timeText(decision.now),
        expires_at: timeText(new Date(decision.now.getTime() + ttlSeconds * 1000)),
        caps: outcome.units === null ? null : { [item.caps_name!]: outcome.units },
      },
      decision.quotas,
      [...warnings, ...estimate.warnings],
    ),
    headers: warnings.length > 0 ? { ...fields, 'x-purser-enforcement': 'warn' } : fields,
  }
}

/** Makes the item for reserve_spend() from a body and its estimate. */
export function reserveItem(
  clock: DatabaseClock,
  principal: Principal,
  tenantId: string,
  body: ReserveBody,
  estimate: ReserveEstimate,
  idempotencyKey: string | null,
): ReserveItem {
  const capped = body.allow_caps === true && estimate.capsName !== null
  const ownTtl = body.ttl_seconds ?? (body.e2b === undefined ? LLM_TTL_SECONDS : undefined)
  const item = {
    // Make the id before the batch is sent: a retry after a lost connection is then the same reservation.
    reservation_id: clock.newId(),
    resource_type: body.resource_type,
    tenant_id: tenantId,
    user_id: body.user_id ?? null,
    conversation_id: body.conversation_id ?? null,
    path_id: body.path_id ?? null,
    labels: body.labels ?? {},
    principal: principal.id,
    idempotency_key: idempotencyKey,
    ...estimate.about,
    price_id: estimate.priceId,
    amount_usd: usdText(estimate.amountUsd),
    fixed_usd: capped ? usdText(estimate.fixedUsd) : '0',
    per_unit_usd: capped ? usdText(estimate.perUnitUsd) : '0',
    caps_name: estimate.capsName,
    on_expiry: body.on_expiry ?? (body.resource_type === 'llm' ? 'release' : 'charge'),
    ttl_seconds: ownTtl ?? Math.ceil(body.e2b!.max_seconds) + E2B_TTL_BEYOND_SECONDS,
    ...(ownTtl === undefined ? { ttl_beyond_units: E2B_TTL_BEYOND_SECONDS } : {}),
    is_free: estimate.isFree,
  }
  // Always hash the tenant, also if the body leaves it out and the principal decides it.
  const words = { ...body, tenant_id: tenantId }
  return Object.assign(item, { request_hash: requestHash(understoodReserve(body, item), words) })
}

/** The content of a reservation request in a normal form, for requestHash(). */
function understoodReserve(body: ReserveBody, item: Omit<ReserveItem, 'request_hash'>): object {
  const { llm, e2b } = body
  const isCapped = body.allow_caps === true
  return {
    ...understoodAttribution(item),
    on_expiry: item.on_expiry,
    ttl_seconds: item.ttl_seconds,
    // Without caps nothing is reduced, so ttl_seconds already covers the whole lifetime.
    ttl_beyond_units: isCapped ? item.ttl_beyond_units : undefined,
    allow_caps: isCapped,
    estimated_usd: body.estimated_cost_usd === undefined ? undefined : item.amount_usd,
    // Hash the caller's own values: later a name may mean another model, and a text may count as more tokens.
    llm: llm && {
      provider: llm.provider,
      model: llm.model,
      input_tokens: llm.input_tokens,
      text: llm.text,
      cache_read_tokens: llm.cache_read_tokens ?? 0,
      max_output_tokens: llm.max_output_tokens,
      max_web_searches: llm.max_web_searches ?? 0,
      ...understoodPlace(llm),
    },
    e2b: e2b && {
      tier: item.tier,
      region: item.region,
      vcpu: item.vcpu,
      memory_mib: item.memory_mib,
      max_seconds: e2b.max_seconds,
    },
  }
}

function storedAnswer(stored: StoredReservation) {
  return {
    reservation_id: stored.reservation_id,
    status: stored.status,
    resource_type: stored.resource_type,
    tenant_id: stored.tenant_id,
    reserved_usd: usdJson(stored.reserved_usd),
    price_id: stored.price_id,
    created_at: timeText(stored.created_at),
    expires_at: timeText(stored.expires_at),
    caps: stored.caps,
  }
}

export function quotaWarningsOf(
  principal: Principal,
  { all }: { all: Balance[] },
  warned: BalanceThen[],
): QuotaWarning[] {
  return warned.map(([place, spentUsd, reservedUsd]) =>
    quotaWarning(principal, balanceWith(all[place]!, spentUsd, reservedUsd)),
  )
}
