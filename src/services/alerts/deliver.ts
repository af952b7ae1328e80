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
   * Notes what has ended, queues new events, and begins what is due; waits for no receiver. Answers whether there may be
   * more to do at once. At most one at a time.
   *
   * @throws errors of the database; what had ended is noted by a later round.
   */
  round(): Promise<boolean>
  /** Notes what has ended, and begins nothing. @throws errors of the database. */
  note(): Promise<void>
  /** Resolves when an attempt has ended that no round has noted yet. */
  ended(): Promise<void>
  /** How many attempts run, or have ended and are not noted yet. */
  running(): number
}

/**
 * Takes events from the outbox to the endpoints. Each event is queued for its endpoints once; each delivery is attempted
 * until it is answered or given up: at least once, and after a crash once more, with the same id.
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

  /** An endpoint's place is free again once the end of the attempt is noted. */
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

/** What is told, the same in every attempt. */
function deliveryMessage({ delivery_id: deliveryId, endpoint_id: endpointId, event, started_at: at }: Claim): Message {
  if (event === null) {
    return { id: deliveryId, type: 'endpoint.test', timestamp: timeText(at), data: { endpoint_id: endpointId } }
  }
  const { event_id: id, type, created_at: timestamp, data, ...about } = event
  return { id, type, timestamp: timeText(timestamp), data: { event_id: id, ...about, ...eventData(data) } }
}
