import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Targets } from './targets.ts'

/** The receiver's answer. Its body is not kept, because nobody here needs it. */
export type Posted = { status: number; retryAfterSeconds: number | null }

const ANSWER_BYTES_MAX = 65_536

/**
 * Posts a body to a URL and waits for the status of the answer. Does not follow redirects.
 *
 * @param waitMs the limit for everything: name lookup, connection and answer.
 * @throws TargetRefused; TimeoutError after waitMs; connection errors unchanged.
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
      // A new connection each time: a kept one might just be closing, which would count as a failure.
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

/** Reads the answer to its end, up to ANSWER_BYTES_MAX, so that the receiver can finish. */
function drain(response: IncomingMessage): void {
  let bytes = 0
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > ANSWER_BYTES_MAX) response.destroy()
  })
  response.on('error', () => {
    // The status is known, so errors in the rest of the answer do not matter.
  })
}

/**
 * Seconds from a Retry-After header: a number, or a date relative to the receiver's clock (RFC 9110, section 10.2.3).
 * Null if there is neither.
 */
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
