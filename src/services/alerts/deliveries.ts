import type { Actor } from '../../db/keys/audit.ts'
import { changeAtOnce } from '../../db/pool/change.ts'
import type { DatabaseClock } from '../../db/pool/clock.ts'
import type { Db } from '../../db/pool/connection.ts'
import {
  insertTest,
  listDeliveries as readDeliveries,
  sendDeliveryAgain,
  type DeliveryStatus,
  type StoredDelivery,
} from '../../db/alerts/deliveries.ts'
import { findEndpoint } from '../../db/alerts/webhook-endpoints.ts'
import { Problem } from '../../errors.ts'
import { timeText } from '../answers.ts'
import { pageOf, type PageOf } from '../page.ts'
import { noEndpoint } from './webhook-endpoints.ts'

type Deps = { db: Db }

/** Lists an endpoint's deliveries, the last queued first. @throws not_found */
export async function listDeliveries(
  { db }: Deps,
  endpointId: string,
  status: DeliveryStatus | undefined,
  afterId: string | null,
  limit: number,
): Promise<PageOf<string>> {
  if ((await findEndpoint(db, endpointId)) === null) throw noEndpoint(endpointId)
  const deliveries = await readDeliveries(db, endpointId, status, afterId, limit + 1)
  return pageOf(deliveries, limit, deliveryAnswer, ({ delivery_id: id }) => id)
}

/** Queues a test delivery for an endpoint: one attempt, without an event. @throws not_found; unavailable. */
export async function testEndpoint(
  { db, clock }: Deps & { clock: DatabaseClock },
  actor: Actor,
  endpointId: string,
): Promise<object> {
  const queued = await changeAtOnce(db, actor, (connection) => insertTest(connection, clock.newId(), endpointId))
  if (queued === null) throw noEndpoint(endpointId)
  return deliveryAnswer(queued)
}

/** Makes a delivery due now, whatever its outcome was, with its full number of attempts again. @throws not_found; unavailable. */
export async function redeliver({ db }: Deps, actor: Actor, deliveryId: string): Promise<object> {
  const queued = await changeAtOnce(db, actor, (connection) => sendDeliveryAgain(connection, deliveryId))
  if (queued === null) throw new Problem('not_found', `There is no delivery ${deliveryId}`)
  return deliveryAnswer(queued)
}

function deliveryAnswer(stored: StoredDelivery): object {
  const time = (at: Date | null) => (at === null ? null : timeText(at))
  return {
    ...stored,
    next_attempt_at: time(stored.next_attempt_at),
    created_at: timeText(stored.created_at),
    settled_at: time(stored.settled_at),
  }
}
