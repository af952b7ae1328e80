import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Targets } from './targets.ts'

/** What a receiver answered. Of its body nothing is kept: it is nobody's business here. */
export type Posted = { status: number; retryAfterSeconds: number | null }

const ANSWER_BYTES_MAX = 65_536

/**
 * Posts a body to a URL and waits for the status of the answer; redirects are not followed.
 *
 * @param waitMs for all of it: name, connection, answer.
 * @throws TargetRefused; TimeoutError after waitMs; errors of the connection as they are.
 */
export async function post(
  targets: Targets,
  target: string,
  headers: Record<string, string>,
  body: string,
  waitMs: number,
): Promise<Posted> {
  const signal = AbortSignal.timeout(waitMs)
  const url = new URL(target)
  const lookup = await inTime(targets.resolve(url), signal)
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = url.protocol === 'https:' ? httpsRequest : httpRequest
    const bytes = Buffer.from(body)
    const options = {
      method: 'POST',
      headers: { ...headers, 'content-length': String(bytes.length) },
      lookup,
      // A connection of its own: one that was kept could be cut just now, and would count as a failure.
      agent: false as const,
      signal,
    }
    request(url, options, resolve).on('error', reject).end(bytes)
  })
  drain(response)
  return {
    status: response.statusCode!,
    retryAfterSeconds: retryAfterSeconds(response.headers['retry-after'], response.headers.date),
  }
}

/** Lets the receiver finish its answer, within bounds. */
function drain(response: IncomingMessage): void {
  let bytes = 0
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > ANSWER_BYTES_MAX) response.destroy()
  })
  response.on('error', () => {
    // The status is there; how the rest ends is of no interest.
  })
}

/** Seconds, or a date by the receiver's own clock (RFC 9110, section 10.2.3); null where it says neither. */
function retryAfterSeconds(value: string | undefined, date: string | undefined): number | null {
  if (value === undefined) return null
  if (/^\d{1,9}$/.test(value)) return Number(value)
  const seconds = Math.ceil((Date.parse(value) - (date === undefined ? Date.now() : Date.parse(date))) / 1_000)
  return seconds > 0 ? seconds : null
}

async function inTime<Answer>(work: Promise<Answer>, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const abandon = () => reject(signal.reason as Error)
    signal.addEventListener('abort', abandon, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abandon))
  })
}
