import { invalidRequest } from '../errors.ts'

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** That a part of a cursor is a UUID, in lower case. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value)
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
