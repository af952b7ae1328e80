import { invalidRequest } from '../errors.ts'

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const MICROS_PER_MS = 1_000n
const FIRST_MICROS = BigInt(Date.parse('0001-01-01T00:00:00Z')) * MICROS_PER_MS
const LAST_MICROS = BigInt(Date.parse('9999-12-31T23:59:59Z')) * MICROS_PER_MS

// A caller can forge a cursor, so each of these checks accepts only values that Postgres accepts.

/** Whether a part of a cursor is a UUID in lower case. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value)
}

/** Whether it is a row number: a positive integer. */
export function isRowNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}

/** Whether it is a time in the years 1 to 9999: microseconds since 1970, as text. */
export function isMicros(value: unknown): value is string {
  if (typeof value !== 'string' || !/^-?[0-9]{1,18}$/.test(value)) return false
  const micros = BigInt(value)
  return micros >= FIRST_MICROS && micros <= LAST_MICROS
}

/** Whether it is a text without NUL, which Postgres does not accept. */
export function isText(value: unknown): value is string {
  return typeof value === 'string' && !value.includes('\0')
}

/** Encodes where the next page begins. Callers must not look inside. */
export function makeCursor(after: unknown): string {
  return Buffer.from(JSON.stringify(after)).toString('base64url')
}

/** Decodes a cursor; null for the first page. @throws invalidRequest if makeCursor() did not make it for this list. */
export function readCursor<After>(
  cursor: string | undefined,
  isAfter: (value: unknown) => value is After,
): After | null {
  if (cursor === undefined) return null
  try {
    const after: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (isAfter(after)) return after
  } catch {
    // Every invalid cursor gets the same answer, below.
  }
  throw invalidRequest([{ pointer: 'cursor', message: 'is not a cursor of this list: send next_cursor unchanged' }])
}

/** A page as it is answered: its rows, and the cursor of the next page. */
export function pageAnswer<Row>({ data, next }: { data: Row[]; next: unknown }): {
  data: Row[]
  next_cursor: string | null
} {
  return { data, next_cursor: next === null ? null : makeCursor(next) }
}
