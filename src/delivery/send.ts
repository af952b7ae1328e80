import type { Mailer } from './mail.ts'
import type { Message } from './message.ts'
import { post } from './post.ts'
import { slackRequest } from './slack.ts'
import type { Targets } from './targets.ts'
import { webhookRequest } from './webhook.ts'

export type Order = {
  kind: 'webhook' | 'email' | 'slack'
  url: string | null
  recipients: string[] | null
  secrets: string[]
  message: Message
  /** The time of the attempt. */
  at: Date
}

/** The result of an attempt. `status` is the HTTP or SMTP status, if there was an answer. */
export type Outcome = {
  delivered: boolean
  status: number | null
  error: string | null
  retryAfterSeconds: number | null
  /** The receiver answered that it is gone for good. */
  gone: boolean
}

export type Send = (order: Order) => Promise<Outcome>

/** The Standard Webhooks specification recommends 15 to 30 s. */
const WAIT_MS = 15_000
const ERROR_CHARACTERS_MAX = 500
const GONE = 410

/**
 * Opens a function that sends one message to one endpoint. It never throws: a failure is an outcome.
 *
 * @param mailer null: no mail server is configured.
 */
export function openSender({
  targets,
  mailer,
  waitMs = WAIT_MS,
}: {
  targets: Targets
  mailer: Mailer | null
  waitMs?: number
}): Send {
  const sendOnce = async (order: Order): Promise<Outcome> => {
    if (order.kind === 'email') {
      if (mailer === null) return failure('no mail server is set: PURSER_SMTP_URL and PURSER_MAIL_FROM')
      const { refused } = await mailer(order.message, order.recipients!)
      return { delivered: true, status: null, error: refused, retryAfterSeconds: null, gone: false }
    }
    const { headers, body } =
      order.kind === 'slack' ? slackRequest(order.message) : webhookRequest(order.message, order.secrets, order.at)
    const { status, retryAfterSeconds } = await post(
      targets,
      order.url!,
      { ...headers, 'user-agent': 'Purser' },
      body,
      waitMs,
    )
    const delivered = status >= 200 && status < 300
    return {
      delivered,
      status,
      error: delivered ? null : complaintOf(status),
      retryAfterSeconds,
      gone: status === GONE,
    }
  }
  return async (order) => {
    try {
      return await sendOnce(order)
    } catch (error) {
      return failure(sendFaultText(error, waitMs), smtpStatus(error))
    }
  }
}

function failure(error: string, status: number | null = null): Outcome {
  // The text may come from a server. Remove what Postgres would not store.
  const words = error
    .replace(/\p{Cc}+/gu, ' ')
    .slice(0, ERROR_CHARACTERS_MAX)
    .toWellFormed()
  return { delivered: false, status, error: words, retryAfterSeconds: null, gone: false }
}

function complaintOf(status: number): string {
  if (status === GONE) return 'answered 410: the endpoint is disabled'
  return status >= 300 && status < 400 ? `answered ${status}: redirects are not followed` : `answered ${status}`
}

function smtpStatus(error: unknown): number | null {
  return error instanceof Error && 'responseCode' in error && typeof error.responseCode === 'number'
    ? error.responseCode
    : null
}

/** The reason of a failure. A name with several addresses fails with one error per address. */
function sendFaultText(error: unknown, waitMs: number): string {
  if (error instanceof Error && ['AbortError', 'TimeoutError'].includes(error.name))
    return `no answer within ${waitMs / 1_000} s`
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error]
  return errors.map((one) => (one instanceof Error ? one.message : String(one))).join('; ')
}
