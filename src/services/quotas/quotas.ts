import stringify from 'safe-stable-stringify'
import type { StatusCache } from '../../cache/quota-status.ts'
import type { Actor } from '../../db/keys/audit.ts'
import { changeAtOnce } from '../../db/pool/change.ts'
import { slowConnections, type Db } from '../../db/pool/connection.ts'
import { isInvalidParameter } from '../../db/pool/faults.ts'
import {
  deleteQuota as removeQuota,
  findQuota,
  listQuotas as readQuotas,
  patchQuota as changeQuota,
  setQuotas as writeQuotas,
  sumAhead,
  type QuotaChanges,
  type QuotaInput,
  type StoredQuota,
} from '../../db/quotas/quotas.ts'
import { readInstant } from '../../domain/instant.ts'
import { usdText } from '../../domain/money.ts'
import { invalidRequest, Problem, type FieldError } from '../../errors.ts'
import type { QuotaBody, QuotaPatch } from '../../schemas/quotas.ts'
import { amountOf } from '../amount.ts'
import { timeText, usdJson } from '../answers.ts'
import { pageOf, type PageOf } from '../page.ts'
import { tenantFilter, type Principal } from '../keys/principal.ts'

export type QuotaQuery = {
  scope?: string
  tenant_id?: string
  user_id?: string
  resource_type?: string
  period?: string
}

/** Lists quotas in the order of their ids. A principal bound to a tenant sees only that tenant's quotas. @throws forbidden */
export async function listQuotas(
  { db }: { db: Db },
  principal: Principal,
  query: QuotaQuery,
  afterId: number | null,
  limit: number,
): Promise<PageOf<number>> {
  const tenantId = tenantFilter(principal, query.tenant_id)
  const filter = { ...query, tenantId, userId: query.user_id, resourceType: query.resource_type }
  const quotas = await readQuotas(db, filter, afterId ?? 0, limit + 1)
  return pageOf(quotas, limit, quotaBody, ({ quota_id: quotaId }) => quotaId)
}

type ChangeDeps = { db: Db; status: StatusCache }

/** Creates a quota, or changes the one with the same natural key. @throws invalidRequest; unavailable. */
export async function setQuota(
  deps: ChangeDeps,
  actor: Actor,
  body: QuotaBody,
): Promise<{ made: boolean; quota: object }> {
  const [answer] = await apply(deps, actor, [quotaInput(body)])
  return { made: answer!.made, quota: quotaBody(answer!.quota) }
}

/** Creates or changes up to 1,000 quotas, all or none. @throws invalidRequest at /quotas/N/…; unavailable. */
export async function setQuotas(
  deps: ChangeDeps,
  actor: Actor,
  bodies: QuotaBody[],
): Promise<{ data: object[]; made: number; changed: number }> {
  const answers = await apply(deps, actor, quotaInputs(bodies))
  const made = answers.filter((answer) => answer.made).length
  return { data: answers.map(({ quota }) => quotaBody(quota)), made, changed: answers.length - made }
}

/**
 * Validates a list of quotas and makes the inputs of set_quotas().
 *
 * @throws invalidRequest at /quotas/N/…, also for duplicates.
 */
export function quotaInputs(bodies: QuotaBody[]): QuotaInput[] {
  const errors: FieldError[] = []
  const places = new Map<string, number>()
  const inputs: QuotaInput[] = []
  for (const [n, body] of bodies.entries()) {
    const key = stringify([body.resource_type ?? 'llm', body.scope, body.tenant_id, body.user_id, body.period])
    const first = places.get(key)
    if (first !== undefined) errors.push({ pointer: `/quotas/${n}`, message: `is the same quota as /quotas/${first}` })
    else places.set(key, n)
    try {
      inputs.push(quotaInput(body, `/quotas/${n}`))
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      errors.push(...(error.members['errors'] as FieldError[]))
    }
  }
  if (errors.length > 0) throw invalidRequest(errors)
  return inputs
}

/** Reads one quota. @throws not_found, also for another tenant's. */
export async function readQuota({ db }: { db: Db }, principal: Principal, quotaId: number): Promise<object> {
  return quotaBody(await visibleQuota(db, principal, quotaId))
}

/** Reads a quota that the principal may see. A principal bound to a tenant sees only that tenant's quotas. @throws not_found */
export async function visibleQuota(db: Db, principal: Principal, quotaId: number): Promise<StoredQuota> {
  const quota = await findQuota(db, quotaId, principal.tenantId)
  if (quota === null) throw noQuota(quotaId)
  return quota
}

/** Changes some settings of a quota. @throws not_found; invalidRequest; unavailable. */
export async function patchQuota(deps: ChangeDeps, actor: Actor, quotaId: number, body: QuotaPatch): Promise<object> {
  const changes = settingsOf(body, '')
  const booked = await bookedAhead(deps.db, quotaId, changes).catch(refuseZone('/time_zone'))
  const quota = await changeAtOnce(slowConnections(deps.db), actor, (connection) =>
    changeQuota(connection, quotaId, { ...changes, booked }, actor),
  ).catch(refuseZone('/time_zone'))
  if (quota === null) throw noQuota(quotaId)
  await deps.status.forget([quota])
  return quotaBody(quota)
}

/** Deletes a quota and closes its balance. Open holds still settle in the closed balance. @throws not_found; unavailable. */
export async function deleteQuota(deps: ChangeDeps, actor: Actor, quotaId: number): Promise<void> {
  const quota = await changeAtOnce(deps.db, actor, (connection) => removeQuota(connection, quotaId, actor))
  if (quota === null) throw noQuota(quotaId)
  await deps.status.forget([quota])
}

/** The settings that decide when a quota's periods begin. Changing one of them opens a new balance. */
const PERIOD_SETTINGS = ['time_zone', 'week_starts_on', 'billing_day'] as const

/** Sums the starting amounts of the balance that a change opens; null if the change opens none. */
async function bookedAhead(db: Db, quotaId: number, changes: QuotaChanges): Promise<object | null> {
  const quota = PERIOD_SETTINGS.some((name) => changes[name] !== undefined) ? await findQuota(db, quotaId, null) : null
  const ahead = quota === null ? [] : await sumAhead(db, [{ ...quota, ...changes }])
  return ahead[0]?.booked ?? null
}

async function apply({ db, status }: ChangeDeps, actor: Actor, inputs: QuotaInput[]) {
  const refuse = refuseZone(inputs.length === 1 ? '/time_zone' : '/quotas')
  const ahead = await sumAhead(db, inputs).catch(refuse)
  const answers = await changeAtOnce(slowConnections(db), actor, (connection) =>
    writeQuotas(connection, ahead, actor),
  ).catch(refuse)
  await status.forget(answers.map(({ quota }) => quota))
  return answers
}

/**
 * Turns Postgres's error for a time zone that Node knows and Postgres does not into invalidRequest, so the caller can
 * choose another.
 */
function refuseZone(pointer: string): (error: unknown) => never {
  return (error) => {
    if (!isInvalidParameter(error) || !/time zone/.test(String(error))) throw error
    throw invalidRequest([{ pointer, message: 'is not a time zone that the database knows' }])
  }
}

function noQuota(quotaId: number): Problem {
  return new Problem('not_found', `There is no quota ${quotaId}`)
}

function quotaInput(body: QuotaBody, base = ''): QuotaInput {
  const errors: FieldError[] = []
  const needed: readonly string[] = { platform: [], tenant: ['tenant_id'], user: ['tenant_id', 'user_id'] }[body.scope]
  for (const name of ['tenant_id', 'user_id'] as const) {
    const given = body[name] !== undefined && body[name] !== null
    if (needed.includes(name) && !given)
      errors.push({ pointer: `${base}/${name}`, message: `is required for scope ${body.scope}` })
    if (!needed.includes(name) && given)
      errors.push({ pointer: `${base}/${name}`, message: `cannot be combined with scope ${body.scope}` })
  }
  if (errors.length > 0) throw invalidRequest(errors)
  const { limit_usd: limitUsd, raise, ...rest } = { raise: null, ...body }
  return { ...rest, ...settingsOf({ limit_usd: limitUsd, raise, thresholds: body.thresholds }, base) } as QuotaInput
}

/** Settings in the form of the database: amounts as decimal text, thresholds sorted. Missing settings stay missing. */
function settingsOf(
  { limit_usd: limitUsd, thresholds, raise, ...rest }: { [Name in keyof QuotaPatch]: QuotaPatch[Name] | undefined },
  base: string,
): QuotaChanges {
  const amount = (value: string | number, name: string) => usdText(amountOf(value, `${base}/${name}`))
  return {
    ...rest,
    ...(limitUsd === undefined ? {} : { limit_usd: amount(limitUsd, 'limit_usd') }),
    ...(thresholds === undefined ? {} : { thresholds: thresholds.toSorted((a, b) => a - b) }),
    ...(raise === undefined
      ? {}
      : { raise: raise && { limit_usd: amount(raise.limit_usd, 'raise/limit_usd'), until: readInstant(raise.until) } }),
  }
}

/** A quota in the form of answers and exports. */
export function quotaBody(quota: StoredQuota) {
  return {
    ...quota,
    limit_usd: usdJson(quota.limit_usd),
    raise:
      quota.raise === null ? null : { limit_usd: usdJson(quota.raise.limit_usd), until: timeText(quota.raise.until) },
    created_at: timeText(quota.created_at),
    updated_at: timeText(quota.updated_at),
  }
}
