import { sql } from 'kysely'
import { readForTenant, readReport, type Db } from '../pool/connection.ts'

/** A scope; '' means none, so ('', '') is the platform and ('acme', '') a tenant. */
type Scope = { tenantId: string; userId: string }

/** A quota with its current balance; amounts as decimal text. The period id is null if nothing was booked or held in the period yet. */
export type QuotaStatusRow = {
  quota_period_id: number | null
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

/** A tenant, user and conversation with open reservations in a balance; the amount as decimal text. */
export type Holder = {
  tenant_id: string
  user_id: string | null
  conversation_id: string | null
  reserved_usd: string
  reservations: number
}

const HOLDERS_MAX = 5
/** The search for holders reads at most this many open reservations, those that expire last. */
const HOLDS_MAX = 50_000

/** Reads the quotas of exactly one scope with their current balances, and the time of the reading. */
export async function readScopeStatus(
  db: Db,
  { tenantId, userId }: Scope,
): Promise<{ asOf: string; quotas: QuotaStatusRow[] }> {
  const status = sql<{ status: { asOf: string; quotas: QuotaStatusRow[] } }>`
    select json_build_object('asOf', copilot_internal.clock_now(), 'quotas', coalesce(json_agg(json_build_object(
        'quota_period_id', p.quota_period_id, 'quota_id', q.quota_id, 'resource_type', q.resource_type, 'scope', q.scope,
        'scope_id', q.scope_id, 'period', q.period, 'enforcement', q.enforcement, 'limit_usd', q.limit_usd::text,
        'spent_usd', q.current_spend_usd::text, 'reserved_usd', q.reserved_usd::text, 'starts_at', q.period_start,
        'ends_at', q.period_end) order by q.quota_id), '[]')) as status
    from copilot_internal.cost_quota_status q
    left join copilot_internal.quota_periods p
      on p.quota_id = q.quota_id and p.starts_at = q.period_start and p.closed_at is null
    where ${isExactly('tenant_id', tenantId)} and ${isExactly('user_id', userId)} and q.resource_type in ('llm', 'e2b')`
  // The platform's quotas belong to no tenant, so read them as the service. Bound principals get them without amounts.
  const { rows } = await readForTenant(db, tenantId === '' ? null : tenantId, (reading) => status.execute(reading))
  return rows[0]!.status
}

const isExactly = (column: 'tenant_id' | 'user_id', value: string) =>
  value === '' ? sql`${sql.ref(`q.${column}`)} is null` : sql`${sql.ref(`q.${column}`)} = ${value}`

/**
 * Finds the HOLDERS_MAX largest holders of each of these balances of one scope, by quota_period_id, largest first.
 *
 * Reads the HOLDS_MAX open reservations of the scope that expire last. That is too expensive for every request, so cache
 * the result.
 */
export async function readHolders(
  db: Db,
  { tenantId, userId }: Scope,
  quotaPeriodIds: number[],
): Promise<Record<string, Holder[]>> {
  const holders = sql<{ holders: Record<string, Holder[]> }>`
    select coalesce(json_object_agg(b.id, b.largest), '{}') as holders
    from (
      select h.id, json_agg(json_build_object('tenant_id', h.tenant_id, 'user_id', h.user_id,
               'conversation_id', h.conversation_id, 'reserved_usd', h.reserved_usd::text, 'reservations', h.reservations)
               order by h.place) as largest
      from (
        select p.id, r.tenant_id, r.user_id, r.conversation_id, sum(r.reserved_usd) as reserved_usd, count(*) as reservations,
               row_number() over (partition by p.id order by sum(r.reserved_usd) desc, r.tenant_id, r.user_id, r.conversation_id) as place
        from (
          select r.* from copilot_internal.reservations r
          where r.status = 'reserved'
            and (${tenantId} = '' or r.tenant_id = ${tenantId}) and (${userId} = '' or r.user_id = ${userId})
          order by r.expires_at desc
          limit ${HOLDS_MAX}
        ) r
        cross join lateral unnest(r.quota_period_ids) p(id)
        where p.id = any (${quotaPeriodIds}::bigint[])
        group by p.id, r.tenant_id, r.user_id, r.conversation_id
      ) h
      where h.place <= ${HOLDERS_MAX}
      group by h.id
    ) b`
  const { rows } = await readReport(db, tenantId === '' ? null : tenantId, (reading) => holders.execute(reading))
  return rows[0]!.holders
}
