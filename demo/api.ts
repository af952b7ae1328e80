/** A deadline for one request; the service's own is the same. */
const REQUEST_MS_MAX = 30_000

/** An error that the service answered. */
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

/** One call; amounts in what it answers (`…_usd`) are decimal text. @throws ApiError for a status of 400 or above. */
export type Call = <Answer>(
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  path: string,
  options?: { body?: object; headers?: Record<string, string> },
) => Promise<Answer>

/** Calls a service with one key. Once `signal` says stop, a call that is under way still ends, and no other begins. */
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

/** JSON with each amount as it was written: a number would pass through binary floating point. */
function parseExact(text: string): unknown {
  return JSON.parse(text, (key, value, { source }) =>
    typeof value === 'number' && key.endsWith('_usd') ? source : value,
  )
}

/** Something between us and the service may answer in words of its own. */
function problemOf(text: string): Record<string, unknown> {
  try {
    return parseExact(text) as Record<string, unknown>
  } catch {
    return { detail: text.slice(0, 500) }
  }
}
