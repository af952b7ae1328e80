import { Problem } from '../../errors.ts'

/** The code of an error: SQLSTATE from Postgres, or Node's code for a broken connection; '' if it has none. */
export function faultCode(error: unknown): string {
  if (typeof error !== 'object' || error === null) return ''
  if ('code' in error && typeof error.code === 'string') return error.code
  return ''
}

const RETRYABLE = new Set(['40001', '40P01'])
const LOCK_TIMEOUT = '55P03'
const CANCELED = '57014'
const INVALID_PARAMETER = '22023'
const AWAY = /^(08|57P|53|58)/
const BROKEN = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
])
const BROKEN_MESSAGE =
  /Connection terminated|timeout exceeded when trying to connect|timeout expired|is not queryable|connection has been discarded/i

/** A deadlock or a serialisation failure: nothing was done, and a repeat may work. */
export function isRetryable(error: unknown): boolean {
  return RETRYABLE.has(faultCode(error))
}

/** A lock timeout: nothing was done, and a repeat may work once the holder of the lock is done. */
export function isLockTimeout(error: unknown): boolean {
  return faultCode(error) === LOCK_TIMEOUT
}

/** Postgres cannot be reached, or went away before it answered: it is not known whether the statement was done. */
export function isConnectionFault(error: unknown): boolean {
  const code = faultCode(error)
  return AWAY.test(code) || BROKEN.has(code) || (error instanceof Error && BROKEN_MESSAGE.test(error.message))
}

/** An error that one item of a batch may have caused, such as data that Postgres does not accept. */
export function isItemFault(error: unknown): boolean {
  const code = faultCode(error)
  return code.startsWith('22') || code.startsWith('23') || code === CANCELED
}

/** Postgres does not accept the value of a parameter, such as a time zone that it does not know. */
export function isInvalidParameter(error: unknown): boolean {
  return faultCode(error) === INVALID_PARAMETER
}

/** A 503 problem for an error of the database after which the same request can work later; any other error as it is. */
export function databaseProblem(error: unknown): unknown {
  if (error instanceof Problem) return error
  if (isConnectionFault(error)) return unanswered('The database is out of reach', error)
  const reason = faultReason(error)
  return reason === null ? error : undecided(reason, error)
}

/** The reason that a 503 gives for an error of the database; null for any other error. */
export function faultReason(error: unknown): string | null {
  if (isConnectionFault(error)) return 'the database is out of reach'
  if (isRetryable(error)) return 'the decision met a conflict twice'
  if (isLockTimeout(error)) return 'a lock on a quota or reservation was not got in time'
  return faultCode(error) === CANCELED ? 'the database took too long' : null
}

/** 503 when no answer came: a statement that was sent may have been done. */
export function unanswered(reason: string, cause?: unknown): Problem {
  return unavailable(
    `${reason}, and whether this was done is not known. Try again with the same Idempotency-Key: nothing is done twice.`,
    { cause, headers: RETRY },
  )
}

/** 503 when Postgres rolled the decision back, or it was never sent. */
export function undecided(reason: string, cause?: unknown): Problem {
  return unavailable(`Nothing was decided: ${reason}. Try again with the same Idempotency-Key.`, {
    cause,
    headers: RETRY,
  })
}

/** 503 when an administrator's change was not made. */
export function unchanged(reason: string, cause?: unknown): Problem {
  return unavailable(`Nothing was changed: ${reason}. Try again.`, { cause, headers: RETRY })
}

/** 503 when a read got no answer. */
export function unread(reason: string, cause?: unknown): Problem {
  return unavailable(`Nothing was read: ${reason}. Try again.`, { cause, headers: RETRY })
}

/**
 * 503 when the database failed after an administrator's change had been sent to be committed. It has no Retry-After: a repeat
 * could create a second key, or replace a secret that is already in use.
 */
export function maybeChanged(reason: string, cause: unknown): Problem {
  return unavailable(`The change may have been made or not: ${reason}. Look before you repeat it.`, { cause })
}

const RETRY = { 'retry-after': '1' }

export function unavailable(detail: string, rest: { cause?: unknown; headers?: Record<string, string> }): Problem {
  return new Problem('unavailable', detail, rest)
}
