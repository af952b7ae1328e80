import type { StatusCache } from '../../cache/quota-status.ts'
import type { Enforcement } from '../../config.ts'
import type { Actor } from '../../db/keys/audit.ts'
import { changeAtOnce } from '../../db/pool/change.ts'
import { correctRecord, type Corrected, type Correction } from '../../db/costs/correct-record.ts'
import { findRecord, type RecordJson } from '../../db/costs/cost-records.ts'
import { sendAgain } from '../../db/pool/send-again.ts'
import { candidateProviders } from '../../domain/makers.ts'
import { decimal } from '../../domain/money.ts'
import { UsageError } from '../../domain/usage/index.ts'
import { invalidRequest, Problem } from '../../errors.ts'
import type { CorrectBody } from '../../schemas/records.ts'
import { recordAnswer } from './cost-records.ts'
import { measureOf, unreadable, type Measure, type Measured } from './measure.ts'
import { modelNotPriced, sandboxNotPriced } from '../prices/near-prices.ts'
import { DEFAULT_REGION, type PriceDeps } from '../prices/price-lookup.ts'
import type { Principal } from '../keys/principal.ts'
import type { EmitUnread } from './unread-fields.ts'
import { bookedWarnings } from './usage-warnings.ts'

export type CorrectDeps = PriceDeps & { status: StatusCache; enforcement: Enforcement; emitUnread: EmitUnread }

/**
 * Corrects a cost record, once: books its full reversal and a successor with the actual cost, in the record's own periods.
 *
 * The successor is priced at the time of the original record. With `cost_usd` the quantities do not change. Some records of
 * early releases do not say when they were priced; they accept only `cost_usd`.
 * @throws not_found; record_corrected if the record is corrected already or is a reversal; price_not_found; invalidRequest.
 */
export async function correct(
  deps: CorrectDeps,
  principal: Principal,
  actor: Actor,
  id: string,
  body: CorrectBody,
): Promise<object> {
  let found: Promise<RecordJson> | undefined
  // Read the record only when it is needed, so that an invalid body is refused before the record is read.
  const lineOf = () => (found ??= findLine(deps, principal, id.toLowerCase()))
  const { measure, reading } = await measureFor(deps, lineOf, body)
  const line = await lineOf()
  checkFits(line, body, measure)
  const correction: Correction = {
    costRecordId: line.cost_record_id,
    tenantId: principal.tenantId,
    // Make the ids before sending: a retry after a lost connection is then the same correction.
    reversalId: deps.clock.newId(),
    successorId: deps.clock.newId(),
    ...measure,
    provider: await providerOf(deps, line, body.model),
    model: body.model ?? null,
    reason: body.reason,
  }
  const outcome = await sendCorrection(deps, actor, correction)
  if ('unknown' in outcome) throw noRecord(id)
  if ('successor' in outcome) throw alreadyCorrected(id, outcome.successor)
  if ('undated' in outcome) throw undated(body)
  if ('unpriced' in outcome) throw await lineNotPriced(deps, line, correction)
  deps.status.dropTouched([line])
  const data = outcome.lines.map(recordAnswer)
  const [, successor] = outcome.lines
  if (reading === undefined || successor === undefined) return { data, warnings: [] }
  const { provider, model, price_id: priceId } = successor
  const warnings = await bookedWarnings(deps, principal, reading, {
    ...{ provider, model, by: priceId === null ? null : { priceId: Number(priceId) }, asked: {} },
    costUsd: decimal(successor.cost_usd),
  })
  return { data, warnings }
}

/**
 * Measures the correction.
 *
 * @throws invalidRequest, also if a provider's usage cannot be read: the caller still has the object.
 */
async function measureFor(deps: CorrectDeps, lineOf: () => Promise<RecordJson>, body: CorrectBody): Promise<Measured> {
  const source = async () => {
    const line = await lineOf()
    checkFits(line, body, { measure: 'tokens' })
    const provider = (await providerOf(deps, line, body.model)) ?? line.provider
    return { provider: provider ?? '', model: body.model ?? line.model! }
  }
  try {
    return await measureOf(body, { costName: 'cost_usd', source })
  } catch (error) {
    throw error instanceof UsageError ? unreadable(error, '/provider_usage') : error
  }
}

async function findLine({ db }: CorrectDeps, principal: Principal, id: string): Promise<RecordJson> {
  const line = await findRecord(db, id)
  if (line === null || (principal.tenantId !== null && line.tenant_id !== principal.tenantId)) throw noRecord(id)
  return line
}

function sendCorrection({ db, enforcement }: CorrectDeps, actor: Actor, correction: Correction): Promise<Corrected> {
  const silent = enforcement === 'off'
  return changeAtOnce(db, actor, (connection) => correctRecord(connection, actor, correction, silent), sendAgain)
}

/** Checks that a measure of tokens or seconds fits the resource type of the record. @throws invalidRequest */
function checkFits(line: RecordJson, body: CorrectBody, { measure }: Measure): void {
  const isCall = line.resource_type === 'llm'
  if (measure === 'tokens' && !isCall) {
    const pointer = body.usage === undefined ? '/provider_usage' : '/usage'
    const message = 'is of a model, but the record is of a sandbox: give usage.seconds or cost_usd'
    throw invalidRequest([{ pointer, message }])
  }
  if (measure === 'seconds' && isCall) {
    const message = 'is of a sandbox, but the record is of a model: give its tokens or cost_usd'
    throw invalidRequest([{ pointer: '/usage/seconds', message }])
  }
  if (body.model !== undefined && !isCall) {
    throw invalidRequest([{ pointer: '/model', message: 'cannot be given for the record of a sandbox' }])
  }
  if (measure === 'tokens' && (body.model ?? line.model) === null) {
    throw invalidRequest([{ pointer: '/model', message: 'is required: the record names no model' }])
  }
}

/** Finds the provider of the corrected model: the record's own if it has that model, else the only provider that does. */
async function providerOf(deps: CorrectDeps, line: RecordJson, model: string | undefined): Promise<string | null> {
  if (model === undefined) return null
  if (line.provider !== null && (await deps.prices.model(line.provider, model)).length > 0) return line.provider
  const providers = candidateProviders((await deps.prices.model(null, model)).map((price) => price.provider))
  if (providers.length > 1 && line.provider === null) {
    const message = `is offered by ${providers.sort().join(', ')}, and the record names no provider: give cost_usd`
    throw invalidRequest([{ pointer: '/model', message }])
  }
  return providers.length === 1 ? providers[0]! : line.provider
}

function noRecord(id: string): Problem {
  return new Problem('not_found', `There is no cost record ${id}`)
}

function alreadyCorrected(id: string, successorId: string | null): Problem {
  return new Problem(
    'record_corrected',
    successorId === null
      ? `Cost record ${id} is the reversal of another one. Nothing was booked.`
      : `Cost record ${id} has been corrected already, by ${successorId}. Nothing was booked; correct that one.`,
  )
}

function undated(body: CorrectBody): Problem {
  const pointer = body.usage === undefined ? '/provider_usage' : '/usage'
  const message = 'cannot be priced: this old record does not say when it was priced. Give cost_usd instead'
  return invalidRequest([{ pointer, message }])
}

async function lineNotPriced(deps: CorrectDeps, line: RecordJson, correction: Correction): Promise<Problem> {
  if (line.resource_type === 'e2b') return sandboxNotPriced(deps, line.tier ?? '', DEFAULT_REGION, line.occurred_at)
  const { provider, model } = correction
  return modelNotPriced(deps, provider ?? line.provider, model ?? line.model!, line.occurred_at)
}
