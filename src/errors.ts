/**
 * Every error that a caller can get, with its status and title. The key is the `code`; `type` is its hyphenated form.
 */
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

/** What an operator or caller should know about each code. Shown at `/problems/{code}`. */
export const ERROR_HELP: Record<ErrorCode, string> = {
  invalid_request: 'The request does not match the contract; errors[] names each wrong field. Nothing was changed.',
  unauthenticated: 'Send a valid key as "Authorization: Bearer <key>".',
  forbidden: 'The key is valid, but its role, its tenant or its daily ceiling for records does not allow this.',
  not_found: 'Nothing exists at this path, or this key may not see it.',
  method_not_allowed: 'The path exists, but not with this method. The Allow header lists the methods that it has.',
  reservation_committed: 'The reservation has already been committed with a different result.',
  reservation_not_open: 'The reservation is settled or past its expires_at. Make a new one.',
  record_corrected:
    'The cost record has already been corrected, or is a reversal. Correct the record that replaced it.',
  archived:
    'The answer needs cost records of archived months. Ask by tenant, provider, model or tier in whole quarters of an hour (UTC), or have the months restored: npm run costs -- restore.',
  price_exists:
    'The model or tier already has a version with this date. To supersede it, give its price_id as "replaces".',
  payload_too_large: 'The body is larger than this route accepts. The detail gives the limit.',
  uri_too_long: 'A part of the path is too long.',
  unsupported_media_type: 'Send the body as application/json.',
  idempotency_mismatch: 'This Idempotency-Key was used with another body. Use a new key for a new request.',
  price_not_found:
    'There is no price for this model or sandbox size. near[] lists similar pairs of provider and model that have one. An admin can add a price.',
  quota_exceeded:
    'The amount does not fit a quota. violations[] lists each such quota. Retry-After says when to try again, if waiting can help.',
  rate_limited: 'Too many requests for this key or address. Retry-After says when to continue.',
  internal: 'The service failed. Look for the request_id in its log.',
  unavailable: 'The database cannot decide at the moment. Try again with the same Idempotency-Key after Retry-After.',
  overloaded: 'More requests are waiting than can be served in time. Try again after Retry-After.',
}

/**
 * One validation error: an RFC 6901 pointer into the body (or the name of a parameter), and what is wrong with it.
 */
export type FieldError = { pointer: string; message: string }

/**
 * An error answer of RFC 9457. Whoever knows the reason throws it; the problem plugin writes it. `members` are
 * extension members of the body, `headers` are response headers.
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

/** An answer with status 400 that names every wrong field. */
export function invalidRequest(errors: FieldError[]): Problem {
  const [first] = errors
  const rest = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  const detail = first === undefined ? 'The request is invalid' : `${first.pointer || 'body'} ${first.message}${rest}`
  return new Problem('invalid_request', detail, { members: { errors } })
}
