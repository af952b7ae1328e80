/** The deadline of one request, the same as the service's own. */
const REQUEST_MS_MAX = 30_000

/** An error answer of the service. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: string
  readonly body: Record<string, unknown>

  constructor(call: string, status: number, body: Record<string, unknown>) {
    super(`${call} answered ${status}: ${JSON.stringify(body)}`)
    this.code = String(body['code'])
    this.body = body
  }
}

/**
 * Sends one request. Amounts in the answer (`…_usd`) are decimal text. @throws ApiError for a status of 400 or above.
 */
export type Call = <Answer>(
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  path: string,
  options?: { body?: object; headers?: Record<string, string> },
) => Promise<Answer>

/** Opens calls to a service with one key. After `signal` aborts, a running call still ends and no new one begins. */
export function callerOf(url: string, key: string, signal: AbortSignal): Call {
  return async <Answer>(method: string, path: string, { body, headers }: { body?: object; headers?: object } = {}) => {
    signal.throwIfAborted()
    const response = await fetch(url + path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(REQUEST_MS_MAX),
    })
    const text = await response.text()
    if (response.ok) return (text === '' ? undefined : parseExact(text)) as Answer
    throw new ApiError(`${method} ${path}`, response.status, problemOf(text))
  }
}

/** Parses JSON and keeps each amount as text: a number would pass through binary floating point. */
function parseExact(text: string): unknown {
  return JSON.parse(text, (key, value, { source }) =>
    typeof value === 'number' && key.endsWith('_usd') ? source : value,
  )
}

/** A proxy in between may answer with something other than JSON. */
function problemOf(text: string): Record<string, unknown> {
  try {
    return parseExact(text) as Record<string, unknown>
  } catch {
    return { detail: text.slice(0, 500) }
  }
}
