import { sql } from 'kysely'
import { actorCte, type Actor } from '../keys/audit.ts'
import { readForTenant, readReport, type Db } from '../pool/connection.ts'

/** A quota as quota_json() returns it: amounts as decimal text, times in Postgres's text form. */
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

/** A quota to create or change, with the field names of set_quotas(). Missing fields take their default. Amounts as decimal text. */
export type QuotaInput = {
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
  /** The starting amounts of the balance that setting the quota opens, as sumAhead() has read them. */
  booked?: object | null
}

/** Quotas summed by one statement. A tenant's month may take some hundredths of a second, and a statement has a time limit. */
const SUMS_AT_ONCE = 100

/**
 * Sums what the scopes of these quotas have already booked, for each quota that will open a balance when it is set. Returns
 * the quotas with `booked` filled in.
 *
 * Call this before the transaction that sets the quotas. A period may have millions of records; decisions then wait only
 * while the records booked since this call are summed.
 */
export async function sumAhead<Input extends QuotaInput>(db: Db, quotas: Input[]): Promise<Input[]> {
  const moment = await sql<{ at: string | null }>`
    select copilot_internal.booking_cutoff(${JSON.stringify(quotas)}::json)::text as at`.execute(db)
  const { at } = moment.rows[0]!
  if (at === null) return quotas
  return readReport(db, null, async (reading) => {
    const summed: Input[] = []
    for (let n = 0; n < quotas.length; n += SUMS_AT_ONCE) {
      const part = quotas.slice(n, n + SUMS_AT_ONCE)
      const { rows } = await sql<{ booked: (object | null)[] }>`
        select copilot_internal.booked_before(${JSON.stringify(part)}::json, ${at}::timestamptz) as booked`.execute(
        reading,
      )
      part.forEach((quota, i) => summed.push({ ...quota, booked: rows[0]!.booked[i]! }))
    }
    return summed
  })
}

/** Creates or changes quotas by their natural key, all or none. The results are in the order of the quotas. */
export async function setQuotas(
  db: Db,
  quotas: QuotaInput[],
  actor: Actor | null = null,
): Promise<{ quota: StoredQuota; made: boolean }[]> {
  const { rows } = await sql<{ quota: StoredQuota; made: boolean }>`
    with ${actorCte(actor)}
    select s.quota, s.made from actor
    cross join lateral copilot_internal.set_quotas(
      case when actor.is_known is not null then ${JSON.stringify(quotas)}::json end) s`.execute(db)
  return rows
}

export type QuotaChanges = Partial<Omit<QuotaInput, 'resource_type' | 'scope' | 'tenant_id' | 'user_id' | 'period'>>

/** Changes some settings of a quota; null if there is no such quota. */
export async function patchQuota(
  db: Db,
  quotaId: number,
  changes: QuotaChanges,
  actor: Actor | null = null,
): Promise<StoredQuota | null> {
  const { rows } = await sql<{ quota: StoredQuota | null }>`
    with ${actorCte(actor)}
    select copilot_internal.patch_quota(${quotaId}, ${JSON.stringify(changes)}::json) as quota
    from actor where actor.is_known is not null`.execute(db)
  return rows[0]!.quota
}

/** Deletes a quota and returns it as it was; null if there is no such quota. */
export async function deleteQuota(db: Db, quotaId: number, actor: Actor | null = null): Promise<StoredQuota | null> {
  const { rows } = await sql<{ quota: StoredQuota | null }>`
    with ${actorCte(actor)}
    select copilot_internal.delete_quota(${quotaId}) as quota from actor where actor.is_known is not null`.execute(db)
  return rows[0]!.quota
}

/** Reads a quota; null if there is none, or if it is not that tenant's. @param tenantId null: of any tenant or the platform. */
export async function findQuota(db: Db, quotaId: number, tenantId: string | null): Promise<StoredQuota | null> {
  const { rows } = await readForTenant(db, tenantId, (reading) =>
    sql<{ quota: StoredQuota }>`
      select copilot_internal.quota_json(q) as quota
      from copilot_internal.cost_quotas q
      where q.quota_id = ${quotaId} and q.deleted_at is null
        and (${tenantId}::text is null or q.tenant_id = ${tenantId})`.execute(reading),
  )
  return rows[0]?.quota ?? null
}

/** A period of a quota. `limit_usd` is the raised limit if a raise is active or lasted until the period's end. */
export type StoredPeriod = {
  starts_at: string
  ends_at: string
  limit_usd: string
  spent_usd: string
  reserved_usd: string
  starts_micros: string
}

/**
 * Lists at most `rowsMax` periods of a quota that begin before `beforeMicros` (null: from the current one), latest first.
 * Closed balances are left out: their costs are in the balances opened to replace them.
 */
export async function readHistory(
  db: Db,
  quotaId: number,
  tenantId: string | null,
  beforeMicros: string | null,
  rowsMax: number,
): Promise<StoredPeriod[]> {
  const periods = sql<{ period: StoredPeriod }>`
    with quota as (
      select q.*, now.at as now, b.starts_at, b.ends_at
      from copilot_internal.cost_quotas q
      cross join (select copilot_internal.clock_now() as at) now
      cross join lateral copilot_internal.period_bounds(q.period, q.time_zone, q.week_starts_on, q.billing_day, now.at) b
      where q.quota_id = ${quotaId}
    ),
    periods as (
      select p.starts_at, p.ends_at, p.spent, p.reserved,
             case when p.raise_until > least(q.now, p.ends_at - interval '1 microsecond') then p.raise_limit_usd else p.limit_usd end as limit_usd
      from quota q join copilot_internal.quota_periods p on p.quota_id = q.quota_id and p.closed_at is null
      union all
      select q.starts_at, q.ends_at, 0, 0, case when q.raise_until > q.now then q.raise_limit_usd else q.limit_usd end
      from quota q
      where not exists (
        select from copilot_internal.quota_periods p
        where p.quota_id = q.quota_id and p.closed_at is null and p.starts_at = q.starts_at)
    )
    select json_build_object('starts_at', p.starts_at, 'ends_at', p.ends_at, 'limit_usd', p.limit_usd::text,
      'spent_usd', p.spent::text, 'reserved_usd', p.reserved::text,
      'starts_micros', ((extract(epoch from p.starts_at) * 1000000)::bigint)::text) as period
    from periods p
    where ${beforeMicros}::bigint is null
      or p.starts_at < timestamptz 'epoch' + ${beforeMicros}::bigint * interval '1 microsecond'
    order by p.starts_at desc
    limit ${rowsMax}`
  const { rows } = await readForTenant(db, tenantId, (reading) => periods.execute(reading))
  return rows.map(({ period }) => period)
}

export type QuotaFilter = {
  scope?: string | undefined
  tenantId?: string | undefined
  userId?: string | undefined
  resourceType?: string | undefined
  period?: string | undefined
}

/** Lists at most `rowsMax` quotas with an id above `afterId`, in the order of their ids. */
export async function listQuotas(
  db: Db,
  filter: QuotaFilter,
  afterId: number,
  rowsMax: number,
): Promise<StoredQuota[]> {
  const quotas = sql<{ quota: StoredQuota }>`
    select copilot_internal.quota_json(q) as quota
    from copilot_internal.cost_quotas q
    where q.deleted_at is null and q.quota_id > ${afterId}
      and (${filter.scope ?? null}::text is null or q.scope = ${filter.scope ?? null})
      and (${filter.tenantId ?? null}::text is null or q.tenant_id = ${filter.tenantId ?? null})
      and (${filter.userId ?? null}::text is null or q.user_id = ${filter.userId ?? null})
      and (${filter.resourceType ?? null}::text is null or q.resource_type::text = ${filter.resourceType ?? null})
      and (${filter.period ?? null}::text is null or q.period = ${filter.period ?? null})
    order by q.quota_id
    limit ${rowsMax}`
  const { rows } = await readForTenant(db, filter.tenantId ?? null, (reading) => quotas.execute(reading))
  return rows.map(({ quota }) => quota)
}

/** A period of a quota in which enforcement would have refused something; amounts as decimal text. */
export type ReportedPeriod = {
  quota_id: number
  resource_type: string
  scope: string
  tenant_id: string | null
  user_id: string | null
  period: string
  enforcement: string
  period_starts_at: string
  period_ends_at: string
  limit_usd: string
  spent_usd: string
  calls: number
  refused_calls: number
  refused_usd: string
  first_refused_at: string
}

/** Reports what each quota would have refused in the last `days` days if it had been enforced. */
export function readQuotaReport(db: Db, days: number): Promise<ReportedPeriod[]> {
  return readReport(db, null, async (transaction) => {
    const { rows } = await sql<{ period: ReportedPeriod }>`
      select json_build_object(
        'quota_id', r.quota_id, 'resource_type', r.resource_type, 'scope', r.scope, 'tenant_id', r.tenant_id, 'user_id', r.user_id,
        'period', r.period, 'enforcement', r.enforcement, 'period_starts_at', r.period_starts_at, 'period_ends_at', r.period_ends_at,
        'limit_usd', r.limit_usd::text, 'spent_usd', r.spent_usd::text, 'calls', r.calls, 'refused_calls', r.refused_calls,
        'refused_usd', r.refused_usd::text, 'first_refused_at', r.first_refused_at) as period
      from (select copilot_internal.clock_now() as at) now
      cross join lateral copilot_internal.quota_report(now.at - ${days}::integer * interval '1 day', now.at) r`.execute(
      transaction,
    )
    return rows.map(({ period }) => period)
  })
}
