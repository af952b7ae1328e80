import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import type { Message } from './message.ts'

const SECRET_BYTES = 32

/** Makes a Standard Webhooks secret: whsec_ and 32 random bytes in base64. */
export function makeSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`
}

/**
 * Makes a Standard Webhooks request, signed with each secret.
 *
 * @param at the time of the attempt: receivers refuse a time that is more than five minutes off.
 */
export function webhookRequest(
  message: Message,
  secrets: string[],
  at: Date,
): { headers: Record<string, string>; body: string } {
  const { id, type, timestamp, data } = message
  const body = JSON.stringify({ type, timestamp, data })
  return {
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(' '),
    },
    body,
  }
}
