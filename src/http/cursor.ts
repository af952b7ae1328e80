import { invalidRequest } from '../errors.ts'

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const MICROS_PER_MS = 1_000n
const FIRST_MICROS = BigInt(Date.parse('0001-01-01T00:00:00Z')) * MICROS_PER_MS
const LAST_MICROS = BigInt(Date.parse('9999-12-31T23:59:59Z')) * MICROS_PER_MS

// What a cursor may hold. A caller can forge one, so each shape lets only through what Postgres takes.

/** That a part of a cursor is a UUID, in lower case. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value)
}

/** That it is a number that a table gave to one of its rows. */
export function isRowNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}

/** That it is a time of the years 1 to 9999, in microseconds since 1970, as text. */
export function isMicros(value: unknown): value is string {
  if (typeof value !== 'string' || !/^-?[0-9]{1,18}$/.test(value)) return false
  const micros = BigInt(value)
  return micros >= FIRST_MICROS && micros <= LAST_MICROS
}

/** That it is a text that Postgres takes: one without a NUL. */
export function isText(value: unknown): value is string {
  return typeof value === 'string' && !value.includes('\0')
}

/** An opaque cursor: where the next page begins. */
export function makeCursor(after: unknown): string {
  return Buffer.from(JSON.stringify(after)).toString('base64url')
}

/** What a cursor of ours says; null for the first page. @throws invalidRequest for one that is not ours. */
export function readCursor<After>(
  cursor: string | undefined,
  isAfter: (value: unknown) => value is After,
): After | null {
  if (cursor === undefined) return null
  try {
    const after: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (isAfter(after)) return after
  } catch {
    // Falls through to the one answer for every cursor that is not ours.
  }
  throw invalidRequest([{ pointer: 'cursor', message: 'is not a cursor of this list: take next_cursor as it came' }])
}

/** A page as it is answered: its rows, and the cursor of the next page. */
export function pageAnswer<Row>({ data, next }: { data: Row[]; next: unknown }): {
  data: Row[]
  next_cursor: string | null
} {
  return { data, next_cursor: next === null ? null : makeCursor(next) }
}
