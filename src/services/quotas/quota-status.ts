import type { HoldersCache } from '../../cache/holders.ts'
import type { StatusCache, StatusScope } from '../../cache/quota-status.ts'
import { remainingUsd, type Balance } from '../../db/quotas/balances.ts'
import type { Db } from '../../db/pool/connection.ts'
import { readScopeStatus, type Holder, type QuotaStatusRow } from '../../db/quotas/quota-status.ts'
import { decimal, isZero, roundUsd, usdText } from '../../domain/money.ts'
import { invalidRequest } from '../../errors.ts'
import { quotaAnswer, seesAmounts, timeText, usdJson } from '../answers.ts'
import { tenantFilter, type Principal } from '../keys/principal.ts'

type StatusDeps = { db: Db; status: StatusCache; holders: HoldersCache }
type ScopeStatus = { asOf: string; quotas: QuotaStatusRow[] }

/**
 * Reads the quotas that apply to a tenant and user, the platform's included: what is spent, held and left, and when.
 *
 * The answer may come from Redis and be up to 30 seconds old; `fresh` reads Postgres. The largest holders may be up to 30
 * seconds older than that.
 */
export async function quotaStatus(
  deps: StatusDeps,
  principal: Principal,
  query: { tenant_id?: string; user_id?: string; resource_type?: string },
  fresh: boolean,
): Promise<object> {
  const tenantId = tenantFilter(principal, query.tenant_id)
  const { user_id: userId, resource_type: resourceType } = query
  if (userId !== undefined && tenantId === undefined) {
    throw invalidRequest([{ pointer: 'tenant_id', message: 'is required with user_id' }])
  }
  const scopes: StatusScope[] = [{ tenantId: '', userId: '' }]
  if (tenantId !== undefined) scopes.push({ tenantId, userId: '' })
  if (tenantId !== undefined && userId !== undefined) scopes.push({ tenantId, userId })
  const parts = await Promise.all(scopes.map((scope) => scopeStatus(deps, scope, fresh)))
  const holders = await Promise.all(parts.map(({ quotas }, i) => holdersOf(deps, principal, scopes[i]!, quotas, fresh)))
  const asOf = parts.map((part) => new Date(part.asOf).getTime()).reduce((oldest, at) => Math.min(oldest, at))
  return {
    as_of: timeText(new Date(asOf)),
    data: parts
      .flatMap(({ quotas }, i) => quotas.map((row) => ({ row, holders: holders[i]![row.quota_period_id ?? ''] ?? [] })))
      .filter(({ row }) => resourceType === undefined || row.resource_type === resourceType)
      .map(({ row, holders: largest }) => statusAnswer(principal, row, largest, new Date(asOf))),
  }
}

/** The largest holders by quota_period_id. Empty for quotas whose amounts the principal may not see, or that hold nothing. */
async function holdersOf(
  deps: StatusDeps,
  principal: Principal,
  scope: StatusScope,
  quotas: QuotaStatusRow[],
  fresh: boolean,
): Promise<Record<string, Holder[]>> {
  const quotaPeriodIds = quotas
    .filter((row) => seesAmounts(principal, row) && decimal(row.reserved_usd).gt(0))
    .flatMap(({ quota_period_id: id }) => id ?? [])
  return quotaPeriodIds.length === 0 ? {} : deps.holders({ scope, quotaPeriodIds }, fresh)
}

async function scopeStatus({ db, status }: StatusDeps, scope: StatusScope, fresh: boolean): Promise<ScopeStatus> {
  const { text, version } = await status.get(scope)
  const cached = fresh ? null : readStatus(text)
  if (cached !== null) return cached
  const read = await readScopeStatus(db, scope)
  status.set(scope, JSON.stringify(read), version)
  return read
}

/** Parses a cached status. Anything malformed counts as a miss. */
function readStatus(text: string | null): ScopeStatus | null {
  if (text === null) return null
  try {
    const status: unknown = JSON.parse(text)
    const sound =
      typeof status === 'object' &&
      status !== null &&
      'asOf' in status &&
      'quotas' in status &&
      Array.isArray(status.quotas)
    return sound ? (status as ScopeStatus) : null
  } catch {
    return null
  }
}

function statusAnswer(principal: Principal, row: QuotaStatusRow, holders: Holder[], asOf: Date): object {
  const balance: Balance = {
    quotaPeriodId: 0,
    quotaId: row.quota_id,
    scope: row.scope,
    scopeId: row.scope_id,
    period: row.period,
    enforcement: row.enforcement,
    limitUsd: row.limit_usd,
    spentUsd: row.spent_usd,
    reservedUsd: row.reserved_usd,
    remainingUsd: remainingUsd(row.limit_usd, row.spent_usd, row.reserved_usd),
    startsAt: row.starts_at,
    endsAt: row.ends_at,
  }
  const shown = seesAmounts(principal, balance)
  return {
    ...quotaAnswer(principal, balance),
    resource_type: row.resource_type,
    percent_used: shown ? percentUsed(balance) : null,
    period_starts_at: timeText(row.starts_at),
    projected_usd: shown ? projectedUsd(balance, asOf) : null,
    largest_holders: holders.map((holder) => ({ ...holder, reserved_usd: usdJson(holder.reserved_usd) })),
  }
}

/** Spent in percent of the limit, to two decimals; null if the limit is 0. */
function percentUsed({ spentUsd, limitUsd }: Balance): number | null {
  const limit = decimal(limitUsd)
  return isZero(limit) ? null : Number(decimal(spentUsd).times(100).div(limit).round(2).toFixed())
}

/** Projects the spending at the end of the period, at the rate so far: spent × length ÷ elapsed. Null for period total. */
function projectedUsd({ period, spentUsd, startsAt, endsAt }: Balance, asOf: Date): RawJson | null {
  if (period === 'total') return null
  const length = new Date(endsAt).getTime() - new Date(startsAt).getTime()
  const elapsed = Math.max(1, asOf.getTime() - new Date(startsAt).getTime())
  return usdJson(usdText(roundUsd(decimal(spentUsd).times(length).div(elapsed))))
}
