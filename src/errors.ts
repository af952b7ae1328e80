/** Every error that a caller can see, with its status and title. `code` is the name in snake case; `type` its hyphened form. */
export const ERRORS = {
  invalid_request: { status: 400, title: 'Invalid request' },
  unauthenticated: { status: 401, title: 'Unauthenticated' },
  forbidden: { status: 403, title: 'Forbidden' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  reservation_committed: { status: 409, title: 'Reservation already committed' },
  reservation_not_open: { status: 409, title: 'Reservation not open' },
  record_corrected: { status: 409, title: 'Cost record already corrected' },
  archived: { status: 409, title: 'Cost records archived' },
  price_exists: { status: 409, title: 'Price version exists' },
  payload_too_large: { status: 413, title: 'Payload too large' },
  uri_too_long: { status: 414, title: 'URI too long' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  idempotency_mismatch: { status: 422, title: 'Idempotency key used with another body' },
  price_not_found: { status: 422, title: 'Price not found' },
  quota_exceeded: { status: 429, title: 'Quota exceeded' },
  rate_limited: { status: 429, title: 'Rate limited' },
  internal: { status: 500, title: 'Internal error' },
  unavailable: { status: 503, title: 'Temporarily unavailable' },
  overloaded: { status: 503, title: 'Overloaded' },
} as const satisfies Record<string, { status: number; title: string }>

export type ErrorCode = keyof typeof ERRORS

/** What an operator or caller should know about each code, shown at `/problems/{code}`. */
export const ERROR_HELP: Record<ErrorCode, string> = {
  invalid_request: 'The request breaks the contract; errors[] names each place. Nothing was changed.',
  unauthenticated: 'Send a valid key as "Authorization: Bearer <key>".',
  forbidden: 'The key is valid, but its role, its tenant or its ceiling of records a day does not allow this.',
  not_found: 'There is nothing at this path for this key.',
  method_not_allowed: 'The path exists, but not with this method; the Allow header lists those that do.',
  reservation_committed: 'The reservation has been committed already, with another result.',
  reservation_not_open: 'The reservation is settled or past its expires_at; make a new one.',
  record_corrected:
    'The line of cost has been corrected already, or is a reversal; correct the line that stands instead.',
  archived:
    'The answer needs records of months that are archived. Ask by tenant, provider, model or tier in whole quarters of an hour (UTC), or have the months restored: npm run costs -- restore.',
  price_exists: 'The model or tier has a version of that date; name its price_id in "replaces" to supersede it.',
  payload_too_large: 'The body is larger than the route takes; the detail says how much that is.',
  uri_too_long: 'A part of the path is too long.',
  unsupported_media_type: 'Send the body as application/json.',
  idempotency_mismatch: 'This Idempotency-Key belongs to another body. Use a new key for a new request.',
  price_not_found:
    'There is no price for this model or sandbox size; near[] lists pairs of provider and model that have one. An admin can add one.',
  quota_exceeded: 'A quota does not allow the amount; violations[] lists each. Retry-After says when waiting can help.',
  rate_limited: 'Too many requests for this key or address; Retry-After says when to go on.',
  internal: 'A fault of the service. The request_id finds it in the log.',
  unavailable: 'The database cannot decide right now. Try again with the same Idempotency-Key after Retry-After.',
  overloaded: 'More requests wait than can be served in time. Try again after Retry-After.',
}

/** One failure of validation: an RFC 6901 pointer into the body (or the name of a parameter) and what to do. */
export type FieldError = { pointer: string; message: string }

/**
 * An answer in the form of RFC 9457, thrown by whoever knows the reason and written by the problem plugin.
 * `members` are extension members of the body; `headers` go out with it.
 */
export class Problem extends Error {
  override readonly name = 'Problem'
  readonly code: ErrorCode
  readonly members: Record<string, unknown>
  readonly headers: Record<string, string>

  constructor(
    code: ErrorCode,
    detail: string,
    options: { members?: Record<string, unknown>; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(detail, { cause: options.cause })
    this.code = code
    this.members = options.members ?? {}
    this.headers = options.headers ?? {}
  }
}

/** 400 with every place that is wrong. */
export function invalidRequest(errors: FieldError[]): Problem {
  const [first] = errors
  const rest = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  const detail = first === undefined ? 'The request is invalid' : `${first.pointer || 'body'} ${first.message}${rest}`
  return new Problem('invalid_request', detail, { members: { errors } })
}
