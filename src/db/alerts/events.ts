import { sql } from 'kysely'
import type { BrokenInvariant } from '../costs/check-integrity.ts'
import { readReport, type Db } from '../pool/connection.ts'
import { instant } from '../costs/cost-records.ts'

export type EventFilter = {
  type?: string | undefined
  /** Only events of this tenant. Undefined: all events, also those without a tenant. */
  tenantId?: string | undefined
  /** Earliest time at which it was written, inclusive, in microseconds since 1970-01-01T00:00:00Z. */
  fromMicros?: bigint | undefined
}

/** A stored event. `data` holds amounts as decimal text and times in Postgres's text form. */
export type StoredEvent = {
  event_id: string
  type: string
  created_at: Date
  tenant_id: string | null
  user_id: string | null
  quota_id: string | null
  data: Record<string, unknown>
}

/** Lists at most `rowsMax` events after the one with the id `after`, the last written first. Ids are UUIDv7, so they sort by time. */
export function listEvents(db: Db, filter: EventFilter, after: string | null, rowsMax: number): Promise<StoredEvent[]> {
  const conditions = [sql`true`]
  if (filter.type !== undefined) conditions.push(sql`e.type = ${filter.type}`)
  if (filter.tenantId !== undefined) conditions.push(sql`e.tenant_id = ${filter.tenantId}`)
  if (filter.fromMicros !== undefined) conditions.push(sql`e.created_at >= ${instant(filter.fromMicros)}`)
  if (after !== null) conditions.push(sql`e.event_id < ${after}::uuid`)
  return readReport(db, filter.tenantId ?? null, async (transaction) => {
    const { rows } = await sql<StoredEvent>`
      select e.event_id, e.type, e.created_at, e.tenant_id, e.user_id, e.quota_id, e.data
      from copilot_internal.quota_events e
      where ${sql.join(conditions, sql` and `)}
      order by e.event_id desc
      limit ${rowsMax}`.execute(transaction)
    return rows
  })
}

/**
 * Emits cost.anomaly for an hour that has ended. One call handles a limited number of tenants.
 *
 * @param hour the start of the hour. @param afterTenantId the result of the previous call; null for the first call.
 * @returns the tenant after which the next call begins; null if this was the last call.
 */
export async function emitCostAnomalies(
  db: Db,
  hour: Date,
  afterTenantId: string | null,
  tenantsMax: number,
): Promise<string | null> {
  const { rows } = await sql<{ last: string | null }>`
    select copilot_internal.emit_cost_anomalies(${hour}, ${afterTenantId}, ${tenantsMax}) as last`.execute(db)
  return rows[0]!.last
}

/** Emits integrity.broken, once per UTC day. @param broken must not be empty. */
export async function emitBrokenIntegrity(db: Db, broken: BrokenInvariant[]): Promise<void> {
  await sql`select copilot_internal.emit_broken_integrity(${JSON.stringify(broken)}::text::jsonb)`.execute(db)
}

/** A model without a price, and the principal and tenant that requested it. */
export type MissingPrice = { principal: string; tenantId: string; provider: string | null; model: string }

/** Emits price.missing for refused models: once per tenant, model and UTC day, and at most 50 per principal and day. */
export async function emitMissingPrices(db: Db, missing: MissingPrice[]): Promise<void> {
  await sql`select copilot_internal.emit_missing_prices(
    ${missing.map(({ principal }) => principal)}::text[], ${missing.map(({ tenantId }) => tenantId)}::text[],
    ${missing.map(({ provider }) => provider)}::text[], ${missing.map(({ model }) => model)}::text[])`.execute(db)
}

/** A field of a usage object that nothing reads, as a JSON pointer, and the principal that sent it. */
export type UnreadField = { principal: string; provider: string | null; field: string }

/** Emits usage.unread: once per provider, field and UTC day, and at most 50 per principal and day. */
export async function emitUnreadUsage(db: Db, unread: UnreadField[]): Promise<void> {
  await sql`select copilot_internal.emit_unread_usage(
    ${unread.map(({ principal }) => principal)}::text[], ${unread.map(({ provider }) => provider)}::text[],
    ${unread.map(({ field }) => field)}::text[])`.execute(db)
}

/** Emits price.stale, once per UTC day, if price data of that time is older than `daysMax` days. Returns whether it is. */
export async function emitStalePrices(db: Db, dataAt: Date, daysMax: number): Promise<boolean> {
  const { rows } = await sql<{ stale: boolean }>`
    select copilot_internal.emit_stale_prices(${dataAt}, ${daysMax}) as stale`.execute(db)
  return rows[0]!.stale
}
