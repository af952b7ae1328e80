import { sql } from 'kysely'
import type { Db } from './connection.ts'

/** A quota as quota_json() answers it: amounts as decimal text, times as Postgres writes them. */
export type StoredQuota = {
  quota_id: number
  resource_type: 'llm' | 'e2b'
  scope: 'platform' | 'tenant' | 'user'
  tenant_id: string | null
  user_id: string | null
  period: string
  limit_usd: string
  enforcement: 'enforce' | 'warn' | 'off'
  thresholds: number[]
  time_zone: string
  week_starts_on: number
  billing_day: number
  raise: { limit_usd: string; until: string } | null
  created_at: string
  updated_at: string
}

/** A quota to be made or changed, in the names of set_quotas(); what is absent takes its default. Amounts as decimal text. */
export type QuotaWish = {
  resource_type?: string | undefined
  scope: string
  tenant_id?: string | null | undefined
  user_id?: string | null | undefined
  period: string
  limit_usd: string
  enforcement?: string | undefined
  thresholds?: number[] | undefined
  time_zone?: string | undefined
  week_starts_on?: number | undefined
  billing_day?: number | undefined
  raise?: { limit_usd: string; until: string } | null | undefined
}

/** Makes or changes quotas by their natural key, all or none; the answers are in the order given. */
export async function setQuotas(db: Db, quotas: QuotaWish[]): Promise<{ quota: StoredQuota; made: boolean }[]> {
  const { rows } = await sql<{ quota: StoredQuota; made: boolean }>`
    select quota, made from copilot_internal.set_quotas(${JSON.stringify(quotas)}::json)`.execute(db)
  return rows
}

export type DefaultWish = { scope: 'tenant' | 'user'; resource_type: 'llm' | 'e2b'; period: string; limit_usd: string }

/** Sets what tenants get at first sight, as the environment says it; what an administrator set stays. */
export async function setEnvironmentDefaults(db: Db, defaults: DefaultWish[]): Promise<void> {
  await sql`select copilot_internal.set_quota_defaults(${JSON.stringify(defaults)}::json, true)`.execute(db)
}

export type QuotaFilter = {
  scope?: string | undefined
  tenantId?: string | undefined
  userId?: string | undefined
  resourceType?: string | undefined
  period?: string | undefined
}

/** Quotas with an id above `afterId`, in the order of their ids, at most `rowsMax`. */
export async function listQuotas(
  db: Db,
  filter: QuotaFilter,
  afterId: number,
  rowsMax: number,
): Promise<StoredQuota[]> {
  const { rows } = await sql<{ quota: StoredQuota }>`
    select copilot_internal.quota_json(q) as quota
    from copilot_internal.cost_quotas q
    where q.deleted_at is null and q.quota_id > ${afterId}
      and (${filter.scope ?? null}::text is null or q.scope = ${filter.scope ?? null})
      and (${filter.tenantId ?? null}::text is null or q.tenant_id = ${filter.tenantId ?? null})
      and (${filter.userId ?? null}::text is null or q.user_id = ${filter.userId ?? null})
      and (${filter.resourceType ?? null}::text is null or q.resource_type::text = ${filter.resourceType ?? null})
      and (${filter.period ?? null}::text is null or q.period = ${filter.period ?? null})
    order by q.quota_id
    limit ${rowsMax}`.execute(db)
  return rows.map(({ quota }) => quota)
}

/** A quota with its running balance, amounts as decimal text. */
export type QuotaStatusRow = {
  quota_id: number
  resource_type: 'llm' | 'e2b'
  scope: 'platform' | 'tenant' | 'user'
  scope_id: string
  period: string
  enforcement: 'enforce' | 'warn' | 'off'
  limit_usd: string
  spent_usd: string
  reserved_usd: string
  starts_at: string
  ends_at: string
}

/** The quotas of exactly one scope with their running balances, and when that was. */
export async function readScopeStatus(
  db: Db,
  { tenantId, userId }: { tenantId: string; userId: string },
): Promise<{ asOf: string; quotas: QuotaStatusRow[] }> {
  const { rows } = await sql<{ status: { asOf: string; quotas: QuotaStatusRow[] } }>`
    select json_build_object('asOf', copilot_internal.clock_now(), 'quotas', coalesce(json_agg(json_build_object(
        'quota_id', q.quota_id, 'resource_type', q.resource_type, 'scope', q.scope, 'scope_id', q.scope_id, 'period', q.period,
        'enforcement', q.enforcement, 'limit_usd', q.limit_usd::text, 'spent_usd', q.current_spend_usd::text,
        'reserved_usd', q.reserved_usd::text, 'starts_at', q.period_start, 'ends_at', q.period_end) order by q.quota_id), '[]')) as status
    from copilot_internal.cost_quota_status q
    where coalesce(q.tenant_id, '') = ${tenantId} and coalesce(q.user_id, '') = ${userId} and q.resource_type in ('llm', 'e2b')`.execute(
    db,
  )
  return rows[0]!.status
}
