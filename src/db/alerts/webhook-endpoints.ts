import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'

export type EndpointKind = 'webhook' | 'email' | 'slack'

/** The settings of an endpoint that an administrator can change. */
export type EndpointSettings = {
  url: string | null
  recipients: string[] | null
  types: string[]
  tenant_id: string | null
  scope: 'platform' | 'tenant' | 'user' | null
  enabled: boolean
}

export type StoredEndpoint = EndpointSettings & {
  endpoint_id: string
  kind: EndpointKind
  created_at: Date
  updated_at: Date
}

/** Locks out other creations of endpoints until the transaction ends, and counts the existing endpoints. */
export async function countEndpoints(transaction: Db): Promise<number> {
  await sql`lock table copilot_internal.webhook_endpoints in share row exclusive mode`.execute(transaction)
  const { rows } = await sql<{ endpoints: number }>`
    select count(*)::integer as endpoints from copilot_internal.webhook_endpoints`.execute(transaction)
  return rows[0]!.endpoints
}

export async function insertEndpoint(
  transaction: Db,
  endpoint: EndpointSettings & { endpoint_id: string; kind: EndpointKind },
): Promise<StoredEndpoint> {
  const { endpoint_id: id, kind, url, recipients, types, tenant_id: tenantId, scope, enabled } = endpoint
  const { rows } = await sql<StoredEndpoint>`
    insert into copilot_internal.webhook_endpoints
      (endpoint_id, kind, url, recipients, types, tenant_id, scope, enabled, created_at, updated_at)
    select ${id}, ${kind}, ${url}, ${recipients}::text[], ${types}::text[], ${tenantId}, ${scope}, ${enabled}, now.at, now.at
    from (select copilot_internal.clock_now() as at) now
    returning *`.execute(transaction)
  return rows[0]!
}

/** Locks an endpoint's row until the transaction ends, and reads it; null if there is none. */
export async function lockEndpoint(transaction: Db, endpointId: string): Promise<StoredEndpoint | null> {
  const { rows } = await sql<StoredEndpoint>`
    select * from copilot_internal.webhook_endpoints where endpoint_id = ${endpointId} for update`.execute(transaction)
  return rows[0] ?? null
}

/** Changes an endpoint that the transaction has locked. */
export async function updateEndpoint(
  transaction: Db,
  endpointId: string,
  settings: EndpointSettings,
): Promise<StoredEndpoint> {
  const { url, recipients, types, tenant_id: tenantId, scope, enabled } = settings
  const { rows } = await sql<StoredEndpoint>`
    update copilot_internal.webhook_endpoints
    set url = ${url}, recipients = ${recipients}::text[], types = ${types}::text[], tenant_id = ${tenantId}, scope = ${scope},
        enabled = ${enabled}, updated_at = copilot_internal.clock_now()
    where endpoint_id = ${endpointId}
    returning *`.execute(transaction)
  return rows[0]!
}

/** Deletes an endpoint that the transaction has locked, and its deliveries. */
export async function deleteEndpoint(transaction: Db, endpointId: string): Promise<void> {
  await sql`delete from copilot_internal.webhook_endpoints where endpoint_id = ${endpointId}`.execute(transaction)
}

/**
 * Adds a secret to a webhook that the transaction has locked. Its other secrets sign for the overlap in seconds, or until
 * their own expiry if that is earlier.
 */
export async function addSecret(
  transaction: Db,
  endpointId: string,
  secret: string,
  overlapSeconds: number,
): Promise<void> {
  await sql`
    update copilot_internal.webhook_secrets s
    set valid_until = least(s.valid_until, copilot_internal.clock_now() + make_interval(secs => ${overlapSeconds}))
    where s.endpoint_id = ${endpointId}`.execute(transaction)
  await sql`
    delete from copilot_internal.webhook_secrets
    where endpoint_id = ${endpointId} and valid_until <= copilot_internal.clock_now()`.execute(transaction)
  await sql`
    insert into copilot_internal.webhook_secrets (endpoint_id, secret, made_at)
    values (${endpointId}, ${secret}, copilot_internal.clock_now())`.execute(transaction)
}

export async function findEndpoint(db: Db, endpointId: string): Promise<StoredEndpoint | null> {
  const { rows } = await sql<StoredEndpoint>`
    select * from copilot_internal.webhook_endpoints where endpoint_id = ${endpointId}`.execute(db)
  return rows[0] ?? null
}

/** Lists at most `rowsMax` endpoints after the one with the id `afterId`, in the order of their creation. */
export async function listEndpoints(db: Db, afterId: string | null, rowsMax: number): Promise<StoredEndpoint[]> {
  const { rows } = await sql<StoredEndpoint>`
    select * from copilot_internal.webhook_endpoints
    where ${afterId}::uuid is null or endpoint_id > ${afterId}::uuid
    order by endpoint_id limit ${rowsMax}`.execute(db)
  return rows
}
