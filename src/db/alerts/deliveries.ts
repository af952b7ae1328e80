import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'
import type { StoredEvent } from './events.ts'
import type { EndpointKind } from './webhook-endpoints.ts'

export type DeliveryStatus = 'pending' | 'delivered' | 'failed'

export type StoredDelivery = {
  delivery_id: string
  endpoint_id: string
  event_id: string | null
  status: DeliveryStatus
  attempts: number
  last_status: number | null
  last_error: string | null
  next_attempt_at: Date | null
  created_at: Date
  settled_at: Date | null
}

const COLUMNS = sql`d.delivery_id, d.endpoint_id, d.event_id, d.status, d.attempts, d.last_status, d.last_error, d.next_attempt_at,
  d.created_at, d.settled_at`

/** Queues at most `eventsMax` events for the endpoints that subscribe to them. Returns how many events it handled. */
export async function fanOutEvents(db: Db, eventsMax: number): Promise<number> {
  const { rows } = await sql<{
    events: number
  }>`select copilot_internal.fan_out_events(${eventsMax}) as events`.execute(db)
  return rows[0]!.events
}

/** A started attempt. `event` is null for a test; its amounts are decimal text, its times in Postgres's text form. */
export type Claim = {
  delivery_id: string
  endpoint_id: string
  attempt: number
  kind: EndpointKind
  url: string | null
  recipients: string[] | null
  secrets: string[]
  event: (Omit<StoredEvent, 'created_at' | 'quota_id'> & { created_at: string; quota_id: number | null }) | null
  started_at: Date
}

/** Starts attempts for deliveries that are due. @param inFlight how many attempts already run, by endpoint. */
export async function claimDeliveries(db: Db, inFlight: Map<string, number>): Promise<Claim[]> {
  const [ids, counts] = [[...inFlight.keys()], [...inFlight.values()]]
  const { rows } = await sql<Claim>`
    select * from copilot_internal.claim_deliveries(${ids}::uuid[], ${counts}::integer[])`.execute(db)
  return rows
}

/** The outcome of an attempt, with the field names of settle_deliveries(). */
export type AttemptOutcome = {
  delivery_id: string
  attempt: number
  delivered: boolean
  status: number | null
  error: string | null
  retry_after_seconds: number | null
  gone: boolean
}

/** Stores the outcomes of attempts. Safe to retry. */
export async function settleDeliveries(db: Db, outcomes: AttemptOutcome[]): Promise<void> {
  await sql`select copilot_internal.settle_deliveries(${JSON.stringify(outcomes)}::text::jsonb)`.execute(db)
}

/** Lists at most `rowsMax` deliveries of an endpoint after the one with the id `afterId`, the last queued first. */
export async function listDeliveries(
  db: Db,
  endpointId: string,
  status: DeliveryStatus | undefined,
  afterId: string | null,
  rowsMax: number,
): Promise<StoredDelivery[]> {
  const { rows } = await sql<StoredDelivery>`
    select ${COLUMNS} from copilot_internal.webhook_deliveries d
    where d.endpoint_id = ${endpointId}
      and (${status ?? null}::text is null or d.status = ${status ?? null})
      and (${afterId}::uuid is null or d.delivery_id < ${afterId}::uuid)
    order by d.delivery_id desc limit ${rowsMax}`.execute(db)
  return rows
}

/** Queues a test delivery, which has no event; null if there is no such endpoint. */
export async function insertTest(db: Db, deliveryId: string, endpointId: string): Promise<StoredDelivery | null> {
  const { rows } = await sql<StoredDelivery>`
    insert into copilot_internal.webhook_deliveries as d (delivery_id, endpoint_id, status, next_attempt_at, created_at)
    select ${deliveryId}::uuid, w.endpoint_id, 'pending', now.at, now.at
    from copilot_internal.webhook_endpoints w cross join (select copilot_internal.clock_now() as at) now
    where w.endpoint_id = ${endpointId}
    returning ${COLUMNS}`.execute(db)
  return rows[0] ?? null
}

/** Makes a delivery due now, with its full number of attempts again; null if there is no such delivery. */
export async function sendDeliveryAgain(db: Db, deliveryId: string): Promise<StoredDelivery | null> {
  const { rows } = await sql<StoredDelivery>`
    update copilot_internal.webhook_deliveries d
    set status = 'pending', attempts = 0, redeliveries = d.redeliveries + 1, next_attempt_at = copilot_internal.clock_now(),
        settled_at = null
    where d.delivery_id = ${deliveryId}
    returning ${COLUMNS}`.execute(db)
  return rows[0] ?? null
}
