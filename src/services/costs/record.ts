import type { StatusCache } from '../../cache/quota-status.ts'
import type { Enforcement } from '../../config.ts'
import { recordSpend, type AboveCeiling, type RecordFault, type RecordItem } from '../../db/costs/record-spend.ts'
import { sendAgain } from '../../db/pool/send-again.ts'
import { readInstant } from '../../domain/instant.ts'
import { decimal } from '../../domain/money.ts'
import { Reading } from '../../domain/usage/index.ts'
import { invalidRequest, Problem, type FieldError } from '../../errors.ts'
import type { RecordBody, RecordsBody } from '../../schemas/records.ts'
import type { UsageWarning } from '../../schemas/usage.ts'
import { showUsd, usdJson } from '../answers.ts'
import {
  costMeasure,
  providerTokens,
  secondsMeasure,
  tokenMeasure,
  checkedTokens,
  type Measure,
  type Measured,
} from './measure.ts'
import { modelNotPriced, readPriced, sandboxNotPriced } from '../prices/near-prices.ts'
import { findProvider, type PriceDeps } from '../prices/price-lookup.ts'
import { tenantOf, type Principal } from '../keys/principal.ts'
import { sandboxSize } from '../reservations/reserve-estimate.ts'
import { requestHash, understoodAttribution, understoodMeasure, understoodPlace } from '../reservations/request-hash.ts'
import type { Queues } from '../queues.ts'
import type { EmitUnread } from './unread-fields.ts'
import { bookedWarnings } from './usage-warnings.ts'

export type RecordDeps = PriceDeps & {
  queues: Pick<Queues, 'emitMissingPrice'>
  emitUnread: EmitUnread
  status: StatusCache
  enforcement: Enforcement
  /** How long records are kept. Older records count in no period, and only an administrator may import them. */
  retention: { retentionDays: number }
}

/**
 * Books spend that had no reservation, all records or none. It counts against quotas and is never refused because of them.
 *
 * Safe to retry with the same idempotency keys: each record is answered with its first id and cost, marked as replayed.
 * @throws invalidRequest, price_not_found and idempotency_mismatch, which point at /records/N; forbidden, also if the total is
 * more than the key may record in a day.
 */
export async function record(deps: RecordDeps, principal: Principal, body: RecordsBody): Promise<object> {
  const items: RecordItem[] = []
  const readings: (Reading | undefined)[] = []
  const errors: FieldError[] = []
  for (const [index, one] of body.records.entries()) {
    try {
      const { item, reading } = await recordItem(deps, principal, one, `/records/${index}`)
      items.push(item)
      readings.push(reading)
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== 'invalid_request') throw error
      errors.push(...(error.members['errors'] as FieldError[]))
    }
  }
  if (errors.length > 0) throw invalidRequest(errors)
  const recording = await bookRecords(deps, principal, items)
  if ('day_usd' in recording) throw aboveCeiling(principal.recordDayMaxUsd!, recording)
  if ('faults' in recording) throw await refusal(deps, principal, body, items, recording.faults)
  deps.status.dropTouched(items)
  const warnings = await Promise.all(
    recording.records.map(({ cost_usd }, index) =>
      recordWarnings(deps, principal, items[index]!, readings[index], cost_usd),
    ),
  )
  return {
    data: recording.records.map((recorded, index) => ({
      index,
      ...recorded,
      cost_usd: usdJson(recorded.cost_usd),
      warnings: warnings[index],
    })),
  }
}

async function recordWarnings(
  deps: RecordDeps,
  principal: Principal,
  item: RecordItem,
  reading: Reading | undefined,
  costUsd: string,
): Promise<UsageWarning[]> {
  if (reading === undefined) return []
  const { provider = null, model = null, service_tier: serviceTier = null, region = null, occurred_at: at } = item
  return bookedWarnings(deps, principal, reading, {
    ...{ provider, model, by: { at: at ?? undefined }, asked: { serviceTier, region } },
    costUsd: decimal(costUsd),
  })
}

async function bookRecords(deps: RecordDeps, principal: Principal, items: RecordItem[]) {
  const options = {
    retentionDays: deps.retention.retentionDays,
    imports: principal.role === 'admin',
    silent: deps.enforcement === 'off',
    dayMaxUsd: principal.recordDayMaxUsd ?? null,
  }
  const recording = await sendAgain(() => recordSpend(deps.db, items, options))
  deps.clock.observe(recording.now)
  return recording
}

async function recordItem(
  deps: RecordDeps,
  principal: Principal,
  body: RecordBody,
  pointer: string,
): Promise<{ item: RecordItem; reading: Reading | undefined }> {
  // Make the id before the list is sent: a retry after a lost connection is then the same record.
  const id = deps.clock.newId()
  const tenantId = tenantOf(principal, body.tenant_id, `${pointer}/tenant_id`)
  checkRecordSubject(body, pointer)
  const call = body.llm && (await modelCallOf(deps, body.llm, `${pointer}/llm`))
  const { measure, reading } = measureOfRecord(body, call?.provider ?? null, pointer)
  const item = {
    cost_record_id: id,
    resource_type: body.resource_type,
    tenant_id: tenantId,
    user_id: body.user_id ?? null,
    conversation_id: body.conversation_id ?? null,
    path_id: body.path_id ?? null,
    labels: body.labels ?? {},
    principal: principal.id,
    idempotency_key: body.idempotency_key ?? id,
    occurred_at: body.occurred_at ? readInstant(body.occurred_at) : null,
    ...measure,
    ...call,
    ...(body.e2b === undefined ? {} : runOf(body.e2b, `${pointer}/e2b`)),
  }
  // Always hash the tenant, also if the body leaves it out and the principal decides it.
  const words = { ...body, tenant_id: tenantId }
  return { item: { ...item, request_hash: requestHash(understoodRecord(body, item, measure), words) }, reading }
}

/** The content of a record in a normal form, for requestHash(). */
function understoodRecord({ llm, e2b }: RecordBody, item: Omit<RecordItem, 'request_hash'>, measure: Measure): object {
  return {
    ...understoodAttribution(item),
    occurred_at: item.occurred_at,
    ...understoodMeasure(measure),
    llm: llm && { provider: llm.provider, model: llm.model, ...understoodPlace(llm) },
    e2b: e2b && { tier: item.tier, region: item.region, vcpu: item.vcpu, memory_mib: item.memory_mib },
  }
}

function checkRecordSubject({ resource_type: own, llm, e2b }: RecordBody, pointer: string): void {
  if (own === 'llm' && e2b !== undefined) throw misfit(`${pointer}/e2b`, own)
  if (own === 'e2b' && llm !== undefined) throw misfit(`${pointer}/llm`, own)
}

/** Reads the measure of a record. @param provider of the usage; null if no provider has the model, so it has no price either. */
function measureOfRecord(
  { resource_type: own, llm, e2b, cost_usd: costUsd }: RecordBody,
  provider: string | null,
  pointer: string,
): Measured {
  const measures: [place: string, read: (place: string) => Measured][] = []
  if (llm?.usage !== undefined) measures.push(['llm/usage', (place) => ownTokens(llm.usage!, place)])
  if (llm?.provider_usage !== undefined) {
    const { model, provider_usage: usage } = llm
    measures.push([
      'llm/provider_usage',
      (place) => tokenMeasure(provider === null ? new Reading() : providerTokens(usage, { provider, model }, place)),
    ])
  }
  if (e2b?.seconds !== undefined) measures.push(['e2b/seconds', () => ({ measure: secondsMeasure(e2b.seconds!) })])
  if (costUsd !== undefined) measures.push(['cost_usd', (place) => ({ measure: costMeasure(costUsd, place) })])
  if (measures.length !== 1) {
    const measured = own === 'llm' ? 'llm/usage' : 'e2b/seconds'
    const place = measures[1]?.[0] ?? ((llm ?? e2b) === undefined ? own : measured)
    const choice = own === 'llm' ? 'llm.usage, llm.provider_usage' : 'e2b.seconds'
    const message = `is required: exactly one of ${choice} and cost_usd`
    throw invalidRequest([{ pointer: `${pointer}/${place}`, message }])
  }
  const [place, read] = measures[0]!
  return read(`${pointer}/${place}`)
}

function misfit(pointer: string, resourceType: string): Problem {
  return invalidRequest([{ pointer, message: `cannot be combined with resource_type ${resourceType}` }])
}

function ownTokens(
  { seconds, ...tokens }: NonNullable<NonNullable<RecordBody['llm']>['usage']>,
  pointer: string,
): Measured {
  if (seconds !== undefined) throw invalidRequest([{ pointer: `${pointer}/seconds`, message: 'is for sandboxes' }])
  return tokenMeasure(checkedTokens(tokens, pointer))
}

async function modelCallOf(deps: RecordDeps, llm: NonNullable<RecordBody['llm']>, pointer: string) {
  return {
    provider: llm.provider ?? (await findProvider(deps, llm.model, pointer)),
    model: llm.model,
    service_tier: llm.service_tier ?? null,
    region: llm.region ?? null,
  }
}

function runOf(e2b: NonNullable<RecordBody['e2b']>, pointer: string) {
  const { tier, region, vcpu, memoryMib } = sandboxSize(e2b, pointer)
  return { tier, region, ...(vcpu === undefined ? {} : { vcpu: String(vcpu), memory_mib: memoryMib! }) }
}

function aboveCeiling(maxUsd: string, { day_usd: dayUsd, asked_usd: askedUsd }: AboveCeiling): Problem {
  const detail =
    `This key may record ${showUsd(maxUsd)} USD a day (UTC) and has recorded ${showUsd(dayUsd)} today; ${showUsd(askedUsd)} is too much. ` +
    'Nothing was recorded: record less, wait for the next day, or ask an administrator to record it.'
  return new Problem('forbidden', detail)
}

/** Builds the error if nothing was recorded: the most serious kind of fault, at every record that has it. */
async function refusal(
  deps: RecordDeps,
  principal: Principal,
  body: RecordsBody,
  items: RecordItem[],
  faults: RecordFault[],
): Promise<Problem> {
  const places = (kind: RecordFault['fault'], field: string, message: string): FieldError[] =>
    faults
      .filter(({ fault }) => fault === kind)
      .map(({ index }) => ({ pointer: `/records/${index}/${field}`, message }))
  const ahead = places('ahead', 'occurred_at', 'must not be more than 5 minutes ahead')
  if (ahead.length > 0) return invalidRequest(ahead)
  const old = places('old', 'occurred_at', `is more than ${deps.retention.retentionDays} days ago`)
  if (old.length > 0) {
    const detail = `Only an administrator may record costs that are more than ${deps.retention.retentionDays} days old. Nothing was recorded.`
    return new Problem('forbidden', detail, { members: { errors: old } })
  }
  const mismatches = places('mismatch', 'idempotency_key', 'was used with another record before')
  if (mismatches.length > 0) {
    const detail = 'An idempotency_key was used with another record before. Nothing was recorded.'
    return new Problem('idempotency_mismatch', detail, { members: { errors: mismatches } })
  }
  return recordsNotPriced(
    deps,
    principal,
    body,
    items,
    faults.map(({ index }) => index),
  )
}

async function recordsNotPriced(
  deps: RecordDeps,
  principal: Principal,
  { records }: RecordsBody,
  items: RecordItem[],
  indexes: number[],
): Promise<Problem> {
  const priced = await readPriced(deps)
  const errors = indexes.map((index) => {
    const { resource_type: own, provider = null, model, tier, region } = items[index]!
    const isCall = own === 'llm'
    const isKnown = isCall ? priced.hasModel(provider, model!) : priced.hasTier(tier!, region!)
    const unknown = isCall
      ? 'is unknown: no such model has a price'
      : `is unknown: no such tier has a price in ${region}`
    return {
      pointer: `/records/${index}/${isCall ? 'llm/model' : 'e2b/tier'}`,
      message: isKnown ? 'has no price for the moment of occurred_at' : unknown,
    }
  })
  const first = items[indexes[0]!]!
  const at = first.occurred_at ?? undefined
  if (first.resource_type === 'e2b') return sandboxNotPriced(deps, first.tier!, first.region!, at, errors)
  // Nothing is booked, so record_spend() does not emit the event. Emit it here.
  const { tenant_id: tenantId, provider = null, model } = first
  await deps.queues.emitMissingPrice({ principal: principal.id, tenantId, provider, model: model! })
  const usage = records[indexes[0]!]!.llm?.provider_usage
  return modelNotPriced(deps, provider, model!, at, { errors, usage })
}
