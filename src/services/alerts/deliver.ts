import type { Db } from '../../db/pool/connection.ts'
import {
  claimDeliveries,
  fanOutEvents,
  settleDeliveries,
  type AttemptOutcome,
  type Claim,
} from '../../db/alerts/deliveries.ts'
import type { Message } from '../../delivery/message.ts'
import type { Send } from '../../delivery/send.ts'
import { timeText } from '../answers.ts'
import { eventData } from './events.ts'

const EVENTS_MAX = 200

type Ended = { endpointId: string; outcome: AttemptOutcome }

export type Deliverer = {
  /**
   * Stores the outcomes of ended attempts, queues new events, and starts the attempts that are due. Does not wait for any
   * receiver. Returns whether there may be more to do at once. Do not run two rounds at the same time.
   *
   * @throws database errors; a later round stores the outcomes then.
   */
  round(): Promise<boolean>
  /** Stores the outcomes of ended attempts and starts none. @throws database errors. */
  note(): Promise<void>
  /** Resolves when an attempt has ended whose outcome is not stored yet. */
  ended(): Promise<void>
  /** How many attempts are running, or have ended and are not stored yet. */
  running(): number
}

/**
 * Delivers events from the outbox to the endpoints. Each event is queued once for each of its endpoints. Each delivery is
 * attempted until it succeeds or its attempts are used up. Delivery is at least once: after a crash an attempt may be
 * repeated, with the same id.
 */
export function openDeliverer({ db, send }: { db: Db; send: Send }): Deliverer {
  const inFlight = new Map<string, number>()
  let ended: Ended[] = []
  let wake = Promise.withResolvers<void>()

  const begin = async (claim: Claim) => {
    const { delivery_id, endpoint_id: endpointId, attempt } = claim
    inFlight.set(endpointId, (inFlight.get(endpointId) ?? 0) + 1)
    const { retryAfterSeconds, ...outcome } = await send({
      kind: claim.kind,
      url: claim.url,
      recipients: claim.recipients,
      secrets: claim.secrets,
      message: deliveryMessage(claim),
      at: claim.started_at,
    })
    ended.push({
      endpointId,
      outcome: { delivery_id, attempt, ...outcome, retry_after_seconds: retryAfterSeconds },
    })
    wake.resolve()
  }

  /** Stores ended attempts. Only then may the endpoint have another attempt in their place. */
  const note = async () => {
    if (ended.length === 0) return
    const noting = [...ended]
    wake = Promise.withResolvers()
    await settleDeliveries(
      db,
      noting.map(({ outcome }) => outcome),
    )
    ended = ended.filter((one) => !noting.includes(one))
    for (const { endpointId } of noting) inFlight.set(endpointId, inFlight.get(endpointId)! - 1)
  }

  return {
    round: async () => {
      await note()
      const events = await fanOutEvents(db, EVENTS_MAX)
      const claims = await claimDeliveries(db, inFlight)
      for (const claim of claims) void begin(claim)
      return events === EVENTS_MAX || ended.length > 0
    },
    note,
    ended: () => wake.promise,
    running: () => [...inFlight.values()].reduce((sum, n) => sum + n, 0),
  }
}

/** The message of a delivery. It is the same in every attempt. */
function deliveryMessage({ delivery_id: deliveryId, endpoint_id: endpointId, event, started_at: at }: Claim): Message {
  if (event === null) {
    return { id: deliveryId, type: 'endpoint.test', timestamp: timeText(at), data: { endpoint_id: endpointId } }
  }
  const { event_id: id, type, created_at: timestamp, data, ...about } = event
  return { id, type, timestamp: timeText(timestamp), data: { event_id: id, ...about, ...eventData(data) } }
}
