import type { StatusCache } from '../cache/quota-status.ts'
import type { Db } from '../db/connection.ts'
import { faultCode, toProblem } from '../db/faults.ts'
import { listQuotas as readQuotas, setQuotas, type QuotaWish, type StoredQuota } from '../db/quotas.ts'
import { usdText } from '../domain/money.ts'
import { invalidRequest, type FieldError } from '../errors.ts'
import type { QuotaBody } from '../schemas/quotas.ts'
import { amountOf } from './amount.ts'
import { timeText, usdJson } from './answers.ts'
import { pageOf, type PageOf } from './page.ts'
import { tenantFilter, type Principal } from './principal.ts'

const LOCK_TRIES = 3

export type QuotaQuery = {
  scope?: string
  tenant_id?: string
  user_id?: string
  resource_type?: string
  period?: string
}

/** Quotas in the order of their ids; a principal that is bound to a tenant sees that tenant's. @throws forbidden */
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

/** Makes a quota, or changes the one with the same natural key. @throws invalidRequest; unavailable. */
export async function setQuota(
  deps: { db: Db; status: StatusCache },
  body: QuotaBody,
): Promise<{ made: boolean; quota: object }> {
  const wish = wishOf(body)
  const [answer] = await retryLock(() => setQuotas(deps.db, [wish]))
  deps.status.drop({ tenantId: wish.tenant_id ?? '', userId: wish.user_id ?? '' })
  return { made: answer!.made, quota: quotaBody(answer!.quota) }
}

function wishOf(body: QuotaBody): QuotaWish {
  const errors: FieldError[] = []
  const needed: readonly string[] = { platform: [], tenant: ['tenant_id'], user: ['tenant_id', 'user_id'] }[body.scope]
  for (const name of ['tenant_id', 'user_id'] as const) {
    const given = body[name] !== undefined && body[name] !== null
    if (needed.includes(name) && !given)
      errors.push({ pointer: `/${name}`, message: `is required for scope ${body.scope}` })
    if (!needed.includes(name) && given)
      errors.push({ pointer: `/${name}`, message: `does not go with scope ${body.scope}` })
  }
  if (errors.length > 0) throw invalidRequest(errors)
  return {
    ...body,
    limit_usd: usdText(amountOf(body.limit_usd, '/limit_usd')),
    thresholds: body.thresholds?.toSorted((a, b) => a - b),
    raise: body.raise
      ? { limit_usd: usdText(amountOf(body.raise.limit_usd, '/raise/limit_usd')), until: body.raise.until }
      : null,
  }
}

/** A change of quotas waits for the decisions in flight; on a busy service the first try may not get the lock in time. */
async function retryLock<Answer>(change: () => Promise<Answer>): Promise<Answer> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await change()
    } catch (error) {
      if (faultCode(error) !== '55P03' || tries === LOCK_TRIES) throw toProblem(error)
    }
  }
}

function quotaBody(quota: StoredQuota): object {
  return {
    ...quota,
    limit_usd: usdJson(quota.limit_usd),
    raise:
      quota.raise === null ? null : { limit_usd: usdJson(quota.raise.limit_usd), until: timeText(quota.raise.until) },
    created_at: timeText(quota.created_at),
    updated_at: timeText(quota.updated_at),
  }
}
